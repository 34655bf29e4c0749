-- Spend rows of the gateway: one for each request. May be run again at any time; scripts/apply-schema
-- does so under a lock and in one transaction.

-- First, for a gateway that makes or drops a partition holds locks that are wanted below.
SELECT pg_advisory_xact_lock(hashtext('llm_spend_make_partitions'));

CREATE TABLE IF NOT EXISTS llm_schema_version (
    version    integer     PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- Columns are named as the members of a spooled row. Money is in nano-dollars (1e-9 USD). "user" has
-- to be quoted: without quotes it is the name of the database role.
CREATE TABLE IF NOT EXISTS llm_spend (
    request_id              uuid        NOT NULL,
    started_at              timestamptz NOT NULL,
    ended_at                timestamptz,
    ttft_ms                 bigint,
    key_hash                text        NOT NULL,
    key_alias               text        NOT NULL,
    "user"                  text        NOT NULL,
    team                    text        NOT NULL,
    org                     text        NOT NULL,
    customer                text        NOT NULL,
    tags                    text[]      NOT NULL,
    endpoint                text        NOT NULL,
    requested_model         text        NOT NULL,
    model                   text        NOT NULL,
    deployment              text        NOT NULL,
    provider                text        NOT NULL,
    dialect                 text        NOT NULL,
    status                  integer     NOT NULL,
    error_kind              text        NOT NULL,
    decision                text        NOT NULL,
    attempts                integer     NOT NULL,
    prompt_tokens           bigint      NOT NULL,
    completion_tokens       bigint      NOT NULL,
    cached_tokens           bigint      NOT NULL,
    cache_write_tokens      bigint      NOT NULL,
    reasoning_tokens        bigint      NOT NULL,
    audio_prompt_tokens     bigint      NOT NULL,
    audio_completion_tokens bigint      NOT NULL,
    searches                bigint      NOT NULL,
    service_tier            text        NOT NULL,
    cost_nano_usd           bigint      NOT NULL,
    input_nano_usd          bigint      NOT NULL,
    cached_nano_usd         bigint      NOT NULL,
    output_nano_usd         bigint      NOT NULL,
    reasoning_nano_usd      bigint      NOT NULL,
    tools_nano_usd          bigint      NOT NULL,
    held_nano_usd           bigint      NOT NULL,
    price_version           text        NOT NULL,
    usage_source            text        NOT NULL,
    stream                  boolean     NOT NULL,
    aborted                 boolean     NOT NULL,
    cache_hit               boolean     NOT NULL,
    -- More than one: refused requests, alike, from started_at to ended_at (llm_spool refused=summed).
    requests                bigint      NOT NULL DEFAULT 1,
    -- What makes a row unique has to hold what the table is partitioned by. A row is always sent with
    -- the same started_at, so this is as good as the request_id alone.
    PRIMARY KEY (started_at, request_id)
) PARTITION BY RANGE (started_at);

CREATE INDEX IF NOT EXISTS llm_spend_team_started_at ON llm_spend (team, started_at);
CREATE INDEX IF NOT EXISTS llm_spend_key_hash_started_at ON llm_spend (key_hash, started_at);

-- Takes the rows of days that have no partition of their own, so that none is ever refused.
CREATE TABLE IF NOT EXISTS llm_spend_default PARTITION OF llm_spend DEFAULT;

-- Makes the partition of one day (UTC), "llm_spend_20250131", and moves the rows of that day that the
-- default partition holds. False: it was there.
-- Its bounds pass through text, and other date styles write zones by names that may mean another one.
CREATE OR REPLACE FUNCTION llm_spend_make_partition(day date) RETURNS boolean
LANGUAGE plpgsql SET datestyle = 'ISO' AS $$
DECLARE
    part  text := 'llm_spend_' || to_char(day, 'YYYYMMDD');
    begin_at timestamptz := day::timestamp AT TIME ZONE 'UTC';
    end_at   timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    IF to_regclass(part) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- Attached, not created in place: that would lock out every writer of the whole table.
    LOCK TABLE llm_spend_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('CREATE TABLE %I (LIKE llm_spend INCLUDING ALL)', part);
    EXECUTE format(
        'WITH moved AS (DELETE FROM llm_spend_default'
        ' WHERE started_at >= %L AND started_at < %L RETURNING *)'
        ' INSERT INTO %I SELECT * FROM moved', begin_at, end_at, part);
    EXECUTE format('ALTER TABLE llm_spend ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   part, begin_at, end_at);
    RETURN true;
END
$$;

-- Those of today and the next `days_ahead` days. Returns how many were made.
CREATE OR REPLACE FUNCTION llm_spend_make_partitions(days_ahead integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    today date := (now() AT TIME ZONE 'UTC')::date;
    made  integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('llm_spend_make_partitions'));
    FOR i IN 0 .. days_ahead LOOP
        made := made + llm_spend_make_partition(today + i)::integer;
    END LOOP;
    RETURN made;
END
$$;

-- Costs in dollars, exact. New columns go to the end of the table, hence of this view.
CREATE OR REPLACE VIEW llm_spend_usd AS
SELECT cost_nano_usd   * 0.000000001::numeric AS cost_usd,
       input_nano_usd  * 0.000000001::numeric AS input_usd,
       cached_nano_usd * 0.000000001::numeric AS cached_usd,
       output_nano_usd * 0.000000001::numeric AS output_usd,
       held_nano_usd   * 0.000000001::numeric AS held_usd,
       llm_spend.*
FROM llm_spend;

-- Last: who reads the view has it before the partitions.
SELECT llm_spend_make_partitions(30);

INSERT INTO llm_schema_version (version) VALUES (1) ON CONFLICT DO NOTHING;
