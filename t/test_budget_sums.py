"""llm_budget_spend: what rows charged to the counters of budgets."""

import concurrent.futures
import random
import time
import uuid

import psycopg
import pytest

NOW = int(time.time() * 1000)
DAY = 86_400_000
ROW = """
    INSERT INTO llm_spend SELECT (jsonb_populate_record(sample, jsonb_build_object('key_hash', '',
        'request_id', %(id)s::text, 'cost_nano_usd', %(cost)s::bigint, 'epoch', %(epoch)s::bigint,
        'budgets', to_jsonb(%(budgets)s::text[])))).*
    FROM llm_spend AS sample WHERE key_hash = 'sample' ON CONFLICT DO NOTHING
"""
SAMPLE = """
    INSERT INTO llm_spend SELECT (jsonb_populate_record(NULL::llm_spend, jsonb_object_agg(column_name,
        CASE WHEN column_name = 'key_hash' THEN to_jsonb('sample'::text)
             WHEN column_name = 'request_id' THEN to_jsonb(gen_random_uuid())
             WHEN data_type IN ('bigint', 'integer') THEN to_jsonb(0)
             WHEN data_type = 'boolean' THEN to_jsonb(false)
             WHEN data_type = 'ARRAY' THEN to_jsonb(ARRAY[]::text[])
             WHEN data_type LIKE 'timestamp%%' THEN to_jsonb(now()) ELSE to_jsonb(''::text) END))).*
    FROM information_schema.columns
    WHERE table_name = 'llm_spend' AND column_name NOT IN ('epoch', 'budgets')
"""
SUMS = "SELECT counter, window_start_ms, window_end_ms, epoch, cost_nano_usd FROM llm_budget_spend ORDER BY 1, 2, 4"


def row(cost=7, epoch=70, budgets=()):
    return {"id": str(uuid.uuid4()), "cost": cost, "epoch": epoch, "budgets": list(budgets)}


@pytest.fixture
def connection(postgres):
    with psycopg.connect(postgres.conninfo, autocommit=True) as connection:
        connection.execute(SAMPLE)
        yield connection


def sums(connection):
    return connection.execute(SUMS).fetchall()


def test_each_row_counts_once_in_each_of_its_budgets(connection):
    odd = 'by:"a"\\@1-2@:usd:1mo@Europe/Berlin'
    rows = [
        row(5, 70, ["a@100-200", odd + "@0-9"]),
        row(6, 70, ["a@100-200"]),
        row(1, 71, ["a@100-200"]),
        row(2, 70, ["a@200-300"]),
        row(2**53, 9_007_199_254_740_991, ["b@0-1"]),
    ]
    for one in rows * 2:
        connection.execute(ROW, one)
    assert sums(connection) == [
        ("a", 100, 200, 70, 11),
        ("a", 100, 200, 71, 1),
        ("a", 200, 300, 70, 2),
        ("b", 0, 1, 9_007_199_254_740_991, 2**53),
        (odd, 0, 9, 70, 5),
    ]


def test_rows_without_budgets_make_no_sums(connection):
    connection.execute(ROW, row() | {"budgets": None, "epoch": None})
    connection.execute(ROW, row(budgets=[]))
    assert sums(connection) == []


def test_one_statement_may_add_to_a_sum_often(connection):
    """Also where the ends of the same window differ: by the rules of a time zone that changed."""
    connection.execute(
        """INSERT INTO llm_spend SELECT (jsonb_populate_record(sample, jsonb_build_object('request_id',
            gen_random_uuid(), 'cost_nano_usd', i, 'epoch', 70, 'budgets', ARRAY['a@100-' || 200 + i % 3]
        ))).* FROM llm_spend AS sample, generate_series(1, 100) AS i"""
    )
    assert sums(connection) == [("a", 100, 202, 70, 5050)]


@pytest.mark.parametrize("budget", ["", "a", "a@1", "a@1-", "a@1-x", "a@-2-1"])
def test_what_is_no_budget_is_refused(connection, budget):
    with pytest.raises(psycopg.errors.IntegrityError):
        connection.execute(ROW, row(budgets=[budget]))
    assert sums(connection) == []


def test_statements_over_the_same_sums_do_not_deadlock(connection, postgres):
    sql = """INSERT INTO llm_spend SELECT (jsonb_populate_record(sample, jsonb_build_object('request_id',
        gen_random_uuid(), 'cost_nano_usd', 1, 'epoch', 70, 'key_hash', '',
        'budgets', ARRAY[b || '@1-2', 'all@1-2']))).*
        FROM llm_spend AS sample, unnest(%s::text[]) AS b WHERE key_hash = 'sample'"""

    def store(seed):
        chance = random.Random(seed)
        with psycopg.connect(postgres.conninfo, autocommit=True) as mine:
            for _ in range(30):
                mine.execute(sql, [[f"k{i}" for i in chance.sample(range(40), 40)]])

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(store, range(6)))
    found = {counter: cost for counter, _, _, _, cost in sums(connection)}
    assert found == {"all": 7200} | {f"k{i}": 180 for i in range(40)}


def test_windows_long_over_are_forgotten(connection, postgres):
    """But none that somebody is adding to, who would be waited for."""
    old = [f"old{i}@{NOW - 3 * DAY}-{NOW - 2 * DAY}" for i in range(5)]
    connection.execute(ROW, row(budgets=[*old, f"late@{NOW - DAY}-{NOW}", f"new@{NOW}-{NOW + DAY}"]))
    with psycopg.connect(postgres.conninfo) as other:
        other.execute(ROW, row(budgets=old[:1]))
        assert connection.execute("SELECT llm_spend_tend(3, 30)").fetchall() == [
            ("deleted 4 sums of llm_budget_spend",)
        ]
        other.commit()
    assert [counter for counter, *_ in sums(connection)] == ["late", "new", "old0"]
    connection.execute("SELECT llm_spend_tend(3, NULL)")
    assert [counter for counter, *_ in sums(connection)] == ["late", "new"]
    assert connection.execute("SELECT llm_spend_tend(3, NULL)").fetchall() == []


def test_who_stores_rows_needs_no_right_on_the_sums(connection, postgres):
    role = f"gateway_{uuid.uuid4().hex}"
    connection.execute(f"CREATE ROLE {role} LOGIN")
    connection.execute(f"GRANT SELECT, INSERT ON llm_spend TO {role}")
    try:
        with psycopg.connect(postgres.conninfo.replace("user=postgres", f"user={role}")) as theirs:
            theirs.execute(ROW, row(budgets=["a@1-2"]))
        assert sums(connection) == [("a", 1, 2, 70, 7)]
    finally:
        connection.execute(f"DROP OWNED BY {role}")
        connection.execute(f"DROP ROLE {role}")
