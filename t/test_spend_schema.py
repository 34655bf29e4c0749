"""The tables: daily sums that count each row once, partitions that come and go, views, migrations."""

import concurrent.futures
import contextlib
import datetime
import random
import subprocess
import threading
import uuid

import psycopg
import pytest

from support.calls import CHAT, chat
from support.nginx_conf import KEY_RECORD
from support.paths import ROOT
from support.waiting import wait_until

BODY = chat("One two three", max_tokens=20, user="customer-1")
ROW = """
    INSERT INTO llm_spend SELECT (jsonb_populate_record(NULL::llm_spend, jsonb_build_object(
        'request_id', %(id)s::text, 'started_at', %(at)s::timestamptz, 'key_hash', %(key)s::text,
        'key_alias', '', 'user', '', 'team', %(team)s::text, 'org', '', 'customer', '',
        'tags', %(tags)s::text[], 'endpoint', '', 'requested_model', '', 'model', '', 'deployment', '',
        'provider', '', 'dialect', '', 'status', 200, 'error_kind', '', 'decision', '', 'attempts', 1,
        'prompt_tokens', 1, 'completion_tokens', 2, 'cached_tokens', 0, 'cache_write_tokens', 0,
        'reasoning_tokens', 0, 'audio_prompt_tokens', 0, 'audio_completion_tokens', 0,
        'searches', 0, 'service_tier', '', 'cost_nano_usd', 7, 'input_nano_usd', 0,
        'cached_nano_usd', 0, 'output_nano_usd', 0, 'reasoning_nano_usd', 0, 'tools_nano_usd', 0,
        'held_nano_usd', 0, 'price_version', '', 'usage_source', '', 'stream', false,
        'aborted', false, 'cache_hit', false, 'requests', 1))).*
    ON CONFLICT DO NOTHING
"""
COUNTS = "count(*), sum(cost_nano_usd)::bigint, sum(prompt_tokens)::bigint"
SUMS = "sum(requests)::bigint, sum(cost_nano_usd)::bigint, sum(prompt_tokens)::bigint"


def row(at=None, team="a", key="k", tags=()):
    at = at or datetime.datetime.now(datetime.UTC)
    return {"id": str(uuid.uuid4()), "at": at, "key": key, "team": team, "tags": list(tags)}


def query(conninfo, sql, *arguments):
    with psycopg.connect(conninfo) as connection:
        return connection.execute(sql, *arguments).fetchall()


def run(conninfo, *statements):
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def partitions(conninfo):
    sql = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'llm_spend'::regclass"
    return {name for (name,) in query(conninfo, sql)}


def partition_of(days_from_today):
    day = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=days_from_today)
    return f"llm_spend_{day:%Y%m%d}"


@pytest.fixture
def database(postgres):
    """The conninfo of a database without tables."""
    server = postgres.conninfo.replace("dbname=llm", "dbname=postgres")
    name = f"d{uuid.uuid4().hex}"
    run(server, f"CREATE DATABASE {name}")
    yield postgres.conninfo.replace("dbname=llm", f"dbname={name}")
    run(server, f"DROP DATABASE {name} WITH (FORCE)")


def apply_schema(conninfo):
    subprocess.run([ROOT / "scripts/apply-schema", conninfo], check=True, stdout=subprocess.DEVNULL)


def test_daily_sums_of_requests(gateway, mock, postgres):
    mock.behave(tokens=5)
    one = gateway(
        postgres=postgres.conninfo, keys=[KEY_RECORD | {"tags": ["blue"], "rpm_limit": 3}]
    )
    tags = {"metadata": {"tags": ["red", "red", "blue"]}}
    statuses = [one.client.post(CHAT, json=BODY | tags).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    rows = postgres.wait_rows(4)
    cost = sum(row["cost_nano_usd"] for row in rows)
    [day] = query(
        postgres.conninfo,
        """SELECT key_hash, key_alias, model, provider, customer, team, "user", org, requests, errors,
           prompt_tokens, completion_tokens, cost_nano_usd FROM llm_spend_daily WHERE provider <> ''""",
    )
    served = next(row for row in rows if row["status"] == 200)
    names = "key_hash key_alias model provider customer team user org".split()
    assert day == (*(served[name] for name in names), 3, 0, 18, 15, cost)
    by_tag = query(postgres.conninfo, f"SELECT tag, {SUMS} FROM llm_spend_daily_tag GROUP BY 1")
    assert sorted(by_tag) == [("blue", 4, cost, 18), ("red", 4, cost, 18)]
    report = "SELECT sum(requests), sum(errors), sum(cost_usd) * 1000000000 FROM cost_tracking_daily"
    assert query(postgres.conninfo, report) == [(4, 1, cost)]


def test_duplicates_count_once_and_sessions_do_not_deadlock(postgres):
    """Eight sessions store the same rows, each in its own batches and order."""
    rows = [row(team=f"t{i % 7}", key=f"k{i % 11}", tags=[f"x{i % 5}"]) for i in range(300)]

    def store(seed):
        mine = random.Random(seed).sample(rows, len(rows))
        with psycopg.connect(postgres.conninfo, autocommit=True) as connection:
            for one in mine:
                connection.execute(ROW, one)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(store, range(8)))
    assert query(postgres.conninfo, f"SELECT {COUNTS} FROM llm_spend") == [(300, 2100, 300)]
    assert query(postgres.conninfo, f"SELECT {SUMS} FROM llm_spend_daily") == [(300, 2100, 300)]
    assert query(postgres.conninfo, f"SELECT {SUMS} FROM llm_spend_daily_tag") == [(300, 2100, 300)]


def test_batches_over_the_same_sums_do_not_deadlock(postgres):
    """Each statement adds to many of the same sums, in an order of rows of its own."""

    def store(seed):
        chance = random.Random(seed)
        sql = """
            INSERT INTO llm_spend SELECT (jsonb_populate_record(sample, jsonb_build_object(
                'request_id', gen_random_uuid(), 'key_hash', k, 'tags', array['t' || k]))).*
            FROM (SELECT sample FROM llm_spend AS sample LIMIT 1) AS one, unnest(%s::text[]) AS k
        """
        with psycopg.connect(postgres.conninfo, autocommit=True) as connection:
            for _ in range(30):
                connection.execute(sql, [[f"k{i}" for i in chance.sample(range(40), 40)]])

    with psycopg.connect(postgres.conninfo) as connection:
        connection.execute(ROW, row())
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(store, range(6)))
    assert query(postgres.conninfo, f"SELECT {SUMS} FROM llm_spend_daily") == [
        (7201, 7201 * 7, 7201)
    ]


def test_migration_of_a_first_version_with_rows(database):
    with psycopg.connect(database) as connection:
        connection.execute((ROOT / "conf/schema/001_spend.sql").read_text())
        for _ in range(5):
            connection.execute(ROW, row(tags=["x"]))
    for _ in range(2):
        apply_schema(database)
        assert query(database, f"SELECT {SUMS} FROM llm_spend_daily") == [(5, 35, 5)]
        assert query(database, f"SELECT {SUMS} FROM llm_spend_daily_tag") == [(5, 35, 5)]
    with psycopg.connect(database) as connection:
        connection.execute(ROW, row())
    assert query(database, f"SELECT {SUMS} FROM llm_spend_daily") == [(6, 42, 6)]
    versions = query(database, "SELECT version FROM llm_schema_version ORDER BY 1")
    assert versions == [(1,), (2,), (3,), (4,), (5,)]


def test_partitions_come_and_go(gateway, mock, database):
    apply_schema(database)
    made = partitions(database) - {"llm_spend_default"}
    run(database, *(f"DROP TABLE {name}" for name in made))
    old = datetime.datetime(2020, 1, 1, 12, tzinfo=datetime.UTC)
    with psycopg.connect(database) as connection:
        connection.execute("SELECT llm_spend_make_partition('2020-01-01')")
        connection.execute(ROW, row(at=old))
        connection.execute(ROW, row(at=old + datetime.timedelta(days=1)))  # to the default one
        connection.execute(ROW, row())  # likewise; moves to the partition that is made
    gateway(postgres=database, postgres_options="retention=30d")
    wanted = {"llm_spend_default", *(partition_of(days) for days in range(4))}
    wait_until(lambda: partitions(database) == wanted, "partitions are made and dropped")
    wait_until(lambda: query(database, f"SELECT {COUNTS} FROM llm_spend") == [(1, 7, 1)], "rows go")
    assert query(database, f"SELECT count(*) FROM {partition_of(0)}") == [(1,)]
    assert query(database, f"SELECT {SUMS} FROM llm_spend_daily") == [(3, 21, 3)]


def test_without_retention_nothing_is_dropped(gateway, mock, database):
    apply_schema(database)
    run(database, "SELECT llm_spend_make_partition('2020-01-01')", f"DROP TABLE {partition_of(2)}")
    gateway(postgres=database)
    wait_until(lambda: partition_of(2) in partitions(database), "the partition is made")
    assert "llm_spend_20200101" in partitions(database)


def test_least_rights_and_one_warning(gateway, mock, database):
    """SELECT and INSERT store rows; partitions need one right more."""
    apply_schema(database)
    role = f"gateway_{uuid.uuid4().hex}"
    run(
        database,
        f"CREATE ROLE {role} LOGIN",
        f"GRANT SELECT, INSERT ON llm_spend TO {role}",
        *(f"DROP TABLE {partition_of(days)}" for days in range(4)),
    )
    conninfo = database.replace("user=postgres", f"user={role}")
    one = gateway(postgres=conninfo)
    for _ in range(3):
        assert one.client.post(CHAT, json=BODY).status_code == 200
        one.reload()
    stored = lambda: query(database, "SELECT count(*) FROM llm_spend_default") == [(3,)]  # noqa: E731
    wait_until(stored, "the rows are in the default partition")
    assert query(database, "SELECT sum(requests) FROM llm_spend_daily") == [(3,)]
    warning = "permission denied for function llm_spend_tend"
    wait_until(lambda: warning in one.error_log, "it is said")
    assert one.error_log.count(warning) <= 4  # once for each load of the configuration

    run(database, f"GRANT EXECUTE ON FUNCTION llm_spend_tend TO {role}")
    one.reload()
    wait_until(lambda: partition_of(3) in partitions(database), "the partitions are made")
    assert query(database, f"SELECT count(*) FROM {partition_of(0)}") == [(3,)]
    one.stop()
    run(database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_columns_of_litellm(gateway, mock, postgres):
    mock.behave(tokens=5)
    one = gateway(postgres=postgres.conninfo)
    one.client.post(CHAT, json=BODY | {"metadata": {"tags": ["a"]}})
    [ours] = postgres.wait_rows(1)
    with psycopg.connect(postgres.conninfo, row_factory=psycopg.rows.dict_row) as connection:
        log = connection.execute("SELECT * FROM litellm_spend_logs").fetchone()
    expected = {
        "request_id": str(ours["request_id"]),
        "call_type": "acompletion",
        "api_key": ours["key_hash"],
        "spend": ours["cost_nano_usd"] / 1e9,
        "total_tokens": 11,
        "model": "gpt-4o-mini",
        "model_group": "gpt-4o-mini",
        "custom_llm_provider": "mock",
        "user": "alice",
        "team_id": "qa",
        "organization_id": "acme",
        "end_user": "customer-1",
        "request_tags": ["a"],
        "cache_hit": "False",
        "status": "success",
        "startTime": ours["started_at"].astimezone(datetime.UTC).replace(tzinfo=None),
    }
    assert {name: log[name] for name in expected} == expected
    assert log["request_duration_ms"] >= 0


def test_a_clock_that_was_set_breaks_no_report(postgres):
    """Rows that end years after, or before, they began."""
    now = datetime.datetime.now(datetime.UTC)
    years = datetime.timedelta(days=20_000)
    with psycopg.connect(postgres.conninfo) as connection:
        for began, ended in ((now - years, now), (now, now - years)):
            connection.execute(ROW, row(at=began))
            connection.execute("UPDATE llm_spend SET ended_at = %s WHERE ended_at IS NULL", [ended])
    durations = query(postgres.conninfo, "SELECT request_duration_ms FROM litellm_spend_logs ORDER BY 1")
    assert durations == [(0,), (2**31 - 1,)]


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/Sao_Paulo", "Pacific/Kiritimati"])
def test_partitions_are_days_of_utc_in_any_session(database, zone):
    """Zone names as this date style writes them, "IST", mean another zone when they are read."""
    name = database.rpartition("dbname=")[2]
    run(database, f"ALTER DATABASE {name} SET timezone = '{zone}'")
    run(database, f"ALTER DATABASE {name} SET datestyle = 'SQL, DMY'")
    apply_schema(database)
    for day in ("2024-02-29", "2018-11-04", "2025-03-30"):
        noon = datetime.datetime.fromisoformat(day + "T12:00:00+00:00")
        halves = [noon + datetime.timedelta(hours=hours) for hours in (-12, 11.999)]
        with psycopg.connect(database) as connection:
            for at in halves:
                connection.execute(ROW, row(at=at))
            connection.execute("SELECT llm_spend_make_partition(%s::date)", [day])
        part = "llm_spend_" + day.replace("-", "")
        assert query(database, f"SELECT count(*) FROM {part}") == [(2,)]
        with psycopg.connect(database) as connection:
            connection.execute(ROW, row(at=halves[1]))
        assert query(database, f"SELECT count(*) FROM {part}") == [(3,)]


def test_migration_beside_writers_and_readers(database):
    """Nobody deadlocks with it: who stores rows, who reads reports, and the upkeep of partitions."""
    apply_schema(database)
    done = threading.Event()

    def repeat(sql, arguments=lambda: None):
        times = 0
        with psycopg.connect(database, autocommit=True) as connection:
            while not done.is_set():
                with contextlib.suppress(psycopg.errors.LockNotAvailable):  # upkeep waits not for long
                    connection.execute(sql, arguments())
                times += 1
        return times

    far = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)
    readers = ["llm_spend_usd", "litellm_spend_logs", "cost_tracking_daily"]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        writers = [pool.submit(repeat, ROW, lambda at=at: row(at=at)) for at in (None, far)]
        reports = [pool.submit(repeat, f"SELECT count(*) FROM {view}") for view in readers]
        reports.append(pool.submit(repeat, "SELECT llm_spend_tend(25, 30)"))
        try:
            for _ in range(4):
                run(database, f"DROP TABLE {partition_of(20)}")
                apply_schema(database)
        finally:
            done.set()
        stored = sum(writer.result() for writer in writers)
        assert all(report.result() for report in reports)
    assert query(database, f"SELECT {SUMS} FROM llm_spend_daily") == [(stored, stored * 7, stored)]
