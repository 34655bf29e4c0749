-- What the counters of budgets come to, so that a Redis that has lost them can be given them back. Kept
-- by a trigger in the transaction that stores the rows: each row counts once.

-- `changed` is the last transaction that added to a sum: a reader whose snapshot had all before some
-- transaction asks for what that one and later ones have changed, and misses none.
CREATE TABLE IF NOT EXISTS llm_budget_spend (
    counter         text COLLATE "C" NOT NULL,
    window_start_ms bigint           NOT NULL,
    window_end_ms   bigint           NOT NULL,
    epoch           bigint           NOT NULL,
    cost_nano_usd   bigint           NOT NULL,
    changed         xid8             NOT NULL,
    PRIMARY KEY (counter, window_start_ms, epoch)
);

-- Sums are added in the order of their keys, as those of llm_spend_daily are.
DO $install$
DECLARE
    add constant text := $sql$
        INSERT INTO llm_budget_spend AS total
            (counter, window_start_ms, window_end_ms, epoch, cost_nano_usd, changed)
        SELECT part[1] COLLATE "C", part[2]::bigint, max(part[3]::bigint), epoch, sum(cost_nano_usd),
            pg_current_xact_id()
        FROM (SELECT regexp_match(budget, '^(.*)@(\d+)-(\d+)$') AS part, epoch,
                  sum(cost_nano_usd) AS cost_nano_usd
              FROM (SELECT budgets, epoch, sum(cost_nano_usd) AS cost_nano_usd FROM stored
                    WHERE budgets IS NOT NULL GROUP BY budgets, epoch) AS alike,
                  unnest(budgets) AS budget
              GROUP BY budget, epoch) AS charged
        GROUP BY 1, 2, 4 ORDER BY 1, 2, 4
        ON CONFLICT (counter, window_start_ms, epoch) DO UPDATE SET
            cost_nano_usd = total.cost_nano_usd + excluded.cost_nano_usd,
            changed = excluded.changed
    $sql$;
BEGIN
    EXECUTE format(
        'CREATE OR REPLACE FUNCTION llm_spend_add_budgets() RETURNS trigger LANGUAGE plpgsql'
        ' SECURITY DEFINER SET search_path = %I, pg_temp AS %L',
        current_schema(), format('BEGIN %s; RETURN NULL; END', add));

    IF EXISTS (SELECT FROM llm_schema_version WHERE version = 5) THEN
        RETURN;
    END IF;
    -- Of gateways with llm_redis: in which epoch of Redis's counters a row was charged, and to which
    -- ones, each as "<counter>@<start>-<end>" of the window, Unix milliseconds. Once only: it locks out
    -- everybody, behind a long report for long.
    ALTER TABLE llm_spend ADD COLUMN epoch bigint, ADD COLUMN budgets text[];
    CREATE TRIGGER llm_spend_add_budgets AFTER INSERT ON llm_spend
        REFERENCING NEW TABLE AS stored
        FOR EACH STATEMENT EXECUTE FUNCTION llm_spend_add_budgets();
END
$install$;

-- Deletes up to 10000 sums of windows that ended a day ago. Returns how many. It waits for no one:
-- late rows may be adding to some of them.
CREATE OR REPLACE FUNCTION llm_budget_spend_forget() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    over_ms constant bigint := (extract(epoch FROM now() - interval '1 day') * 1000)::bigint;
    gone    bigint;
BEGIN
    DELETE FROM llm_budget_spend WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM llm_budget_spend WHERE window_end_ms < over_ms
        LIMIT 10000 FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$;

INSERT INTO llm_schema_version (version) VALUES (5) ON CONFLICT DO NOTHING;
