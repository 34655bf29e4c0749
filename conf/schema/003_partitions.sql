-- Upkeep of the partitions in small steps, which the gateway asks for (llm_postgres retention=…).

-- One step: makes one partition of today or the next `days_ahead` days, or drops one that is older
-- than `keep_days` whole days, or deletes up to 10000 such rows of the default partition, or so many
-- sums of budgets whose windows are over. Returns what it did. No row: there is nothing left to do, or
-- another session is at it. `keep_days` NULL: no row is too old.
--
-- It has its owner's rights, so the gateway needs none on the tables, and waits for no lock for long:
-- behind it every writer would wait too.
CREATE OR REPLACE FUNCTION llm_spend_tend(days_ahead integer, keep_days integer)
RETURNS SETOF text LANGUAGE plpgsql SECURITY DEFINER SET lock_timeout = '1s' AS $$
DECLARE
    today  date := (now() AT TIME ZONE 'UTC')::date;
    oldest timestamptz := (today - keep_days)::timestamp AT TIME ZONE 'UTC';
    part   text;
    gone   bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('llm_spend_make_partitions')) THEN
        RETURN;
    END IF;
    FOR i IN 0 .. days_ahead LOOP
        IF llm_spend_make_partition(today + i) THEN
            RETURN NEXT 'made the partition of ' || today + i;
            RETURN;
        END IF;
    END LOOP;

    SELECT relname INTO part FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'llm_spend'::regclass AND relname ~ '^llm_spend_[0-9]{8}$'
        AND relname < 'llm_spend_' || to_char(today - keep_days, 'YYYYMMDD')
    ORDER BY relname LIMIT 1;
    IF FOUND THEN
        EXECUTE format('DROP TABLE %I', part);
        RETURN NEXT 'dropped ' || part;
        RETURN;
    END IF;

    DELETE FROM llm_spend_default WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM llm_spend_default WHERE started_at < oldest LIMIT 10000));
    GET DIAGNOSTICS gone = ROW_COUNT;
    IF gone > 0 THEN
        RETURN NEXT 'deleted ' || gone || ' rows of llm_spend_default';
        RETURN;
    END IF;

    gone := llm_budget_spend_forget();
    IF gone > 0 THEN
        RETURN NEXT 'deleted ' || gone || ' sums of llm_budget_spend';
    END IF;
END
$$;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION llm_spend_tend(integer, integer) SET search_path = %I, pg_temp',
                   current_schema());
END
$$;

REVOKE ALL ON FUNCTION llm_spend_tend(integer, integer) FROM PUBLIC;

INSERT INTO llm_schema_version (version) VALUES (3) ON CONFLICT DO NOTHING;
