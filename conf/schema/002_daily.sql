-- Daily sums, kept by a trigger in the transaction that stores the rows: whoever stores them, and however
-- often a batch is sent again, each row counts once.

-- One row for each day (UTC) and everything that money is asked for by. key_alias is the latest.
CREATE TABLE IF NOT EXISTS llm_spend_daily (
    day                date   NOT NULL,
    key_hash           text   NOT NULL,
    model              text   NOT NULL,
    provider           text   NOT NULL,
    customer           text   NOT NULL,
    team               text   NOT NULL,
    "user"             text   NOT NULL,
    org                text   NOT NULL,
    key_alias          text   NOT NULL,
    requests           bigint NOT NULL,
    errors             bigint NOT NULL,
    prompt_tokens      bigint NOT NULL,
    completion_tokens  bigint NOT NULL,
    cached_tokens      bigint NOT NULL,
    cache_write_tokens bigint NOT NULL,
    reasoning_tokens   bigint NOT NULL,
    cost_nano_usd      bigint NOT NULL,
    PRIMARY KEY (day, key_hash, model, provider, customer, team, "user", org)
);

-- A request counts for each of its tags, so sums over tags mean nothing.
CREATE TABLE IF NOT EXISTS llm_spend_daily_tag (
    day               date   NOT NULL,
    tag               text   NOT NULL,
    team              text   NOT NULL,
    model             text   NOT NULL,
    provider          text   NOT NULL,
    requests          bigint NOT NULL,
    errors            bigint NOT NULL,
    prompt_tokens     bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    cost_nano_usd     bigint NOT NULL,
    PRIMARY KEY (day, tag, team, model, provider)
);

-- The statements serve the trigger, with the rows that were just stored, and once the rows of before.
-- Sums are added in the order of their keys: two sessions that do so wait for each other, and never
-- both for the other one.
DO $install$
DECLARE
    by_key constant text := $sql$
        INSERT INTO llm_spend_daily AS total (day, key_hash, model, provider, customer, team, "user",
            org, key_alias, requests, errors, prompt_tokens, completion_tokens, cached_tokens,
            cache_write_tokens, reasoning_tokens, cost_nano_usd)
        SELECT (started_at AT TIME ZONE 'UTC')::date AS day, key_hash, model, provider, customer,
            team, "user", org, max(key_alias), sum(requests),
            coalesce(sum(requests) FILTER (WHERE status >= 400), 0), sum(prompt_tokens), sum(completion_tokens), sum(cached_tokens),
            sum(cache_write_tokens), sum(reasoning_tokens), sum(cost_nano_usd)
        FROM %s
        GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 ORDER BY 1, 2, 3, 4, 5, 6, 7, 8
        ON CONFLICT (day, key_hash, model, provider, customer, team, "user", org) DO UPDATE SET
            key_alias = excluded.key_alias,
            requests = total.requests + excluded.requests,
            errors = total.errors + excluded.errors,
            prompt_tokens = total.prompt_tokens + excluded.prompt_tokens,
            completion_tokens = total.completion_tokens + excluded.completion_tokens,
            cached_tokens = total.cached_tokens + excluded.cached_tokens,
            cache_write_tokens = total.cache_write_tokens + excluded.cache_write_tokens,
            reasoning_tokens = total.reasoning_tokens + excluded.reasoning_tokens,
            cost_nano_usd = total.cost_nano_usd + excluded.cost_nano_usd
    $sql$;
    by_tag constant text := $sql$
        INSERT INTO llm_spend_daily_tag AS total (day, tag, team, model, provider, requests, errors,
            prompt_tokens, completion_tokens, cost_nano_usd)
        SELECT (started_at AT TIME ZONE 'UTC')::date AS day, tag, team, model, provider, sum(requests),
            coalesce(sum(requests) FILTER (WHERE status >= 400), 0), sum(prompt_tokens),
            sum(completion_tokens), sum(cost_nano_usd)
        FROM %s AS stored, LATERAL (SELECT DISTINCT unnest(stored.tags) AS tag) AS tagged
        GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
        ON CONFLICT (day, tag, team, model, provider) DO UPDATE SET
            requests = total.requests + excluded.requests,
            errors = total.errors + excluded.errors,
            prompt_tokens = total.prompt_tokens + excluded.prompt_tokens,
            completion_tokens = total.completion_tokens + excluded.completion_tokens,
            cost_nano_usd = total.cost_nano_usd + excluded.cost_nano_usd
    $sql$;
BEGIN
    -- Its owner's rights: who stores rows needs none on the sums.
    EXECUTE format(
        'CREATE OR REPLACE FUNCTION llm_spend_add_daily() RETURNS trigger LANGUAGE plpgsql'
        ' SECURITY DEFINER SET search_path = %I, pg_temp AS %L',
        current_schema(),
        format('BEGIN %s; %s; RETURN NULL; END', format(by_key, 'stored'), format(by_tag, 'stored')));

    IF EXISTS (SELECT FROM llm_schema_version WHERE version = 2) THEN
        RETURN;
    END IF;
    LOCK TABLE llm_spend IN SHARE ROW EXCLUSIVE MODE;
    CREATE TRIGGER llm_spend_add_daily AFTER INSERT ON llm_spend
        REFERENCING NEW TABLE AS stored
        FOR EACH STATEMENT EXECUTE FUNCTION llm_spend_add_daily();
    EXECUTE format(by_key, 'llm_spend');
    EXECUTE format(by_tag, 'llm_spend');
END
$install$;

-- Each index costs a tenth of what it takes to store a row; the sums answer what these did.
DROP INDEX IF EXISTS llm_spend_user_started_at, llm_spend_model_started_at;

CREATE OR REPLACE VIEW cost_tracking_daily AS
SELECT day AS date, org, team, "user", key_alias, key_hash, customer, provider, model, requests,
       errors, prompt_tokens, completion_tokens, prompt_tokens + completion_tokens AS total_tokens,
       cost_nano_usd * 0.000000001::numeric AS cost_usd
FROM llm_spend_daily;

INSERT INTO llm_schema_version (version) VALUES (2) ON CONFLICT DO NOTHING;
