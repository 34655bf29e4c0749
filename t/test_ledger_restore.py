"""Redis loses its counters: what budgets have used comes back from Postgres, to the nano-dollar.

The model `output-only` costs 1000 nano-USD per output token and nothing for its prompt.
"""

import collections
import contextlib
import struct
import threading
import time
import uuid

import httpx
import psycopg
import pytest

from support import redis_state
from support.calls import CHAT, chat
from support.gateway import bearer
from support.nginx_conf import KEY, KEY_RECORD
from support.waiting import wait_until

TOKENS = 100
NANO_USD = 1000 * TOKENS
BODY = chat(model="output-only", max_tokens=TOKENS)
KEYS = [KEY_RECORD, {"key": "sk-other", "alias": "other", "team": "dev", "user": "bob", "org": "acme"}]
TIMEOUT_MS = 200
SLOWEST = TIMEOUT_MS / 1000 + 4  # seconds; the machine may be very busy
EPOCH, LOCK = redis_state.PREFIX + "epoch", redis_state.PREFIX + "restorer"
GLOBAL = "global:usd:1d"
# What each counter has used, by the rows alone.
USED = """
    SELECT 'global:usd:1d', sum(cost_nano_usd)::bigint FROM llm_spend
    UNION ALL SELECT 'team:' || team || ':usd:1mo', sum(cost_nano_usd) FROM llm_spend GROUP BY team
    UNION ALL SELECT 'key:' || left(key_hash, 16) || ':usd:30d', sum(cost_nano_usd) FROM llm_spend
        GROUP BY key_hash
"""


def settings(redis, postgres, on_failure="local", **changes):
    return {
        "redis": f"{redis.url} timeout={TIMEOUT_MS}ms on_failure={on_failure}",
        "postgres": postgres.conninfo,
        "keys": KEYS,
        "budgets": ["global 1000usd/1d", "team=* 500usd/1mo", "key=* 200usd/30d"],
        "limits": ["key=* parallel=50 tpm=10m"],
    } | changes


def run(postgres, *statements):
    with psycopg.connect(postgres.conninfo, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def query(postgres, sql):
    with psycopg.connect(postgres.conninfo) as connection:
        return connection.execute(sql).fetchall()


def epoch(redis):
    return redis.client.get(EPOCH)


def wait_epoch(redis, other_than=None, timeout=40):
    """Every counter has been brought back."""
    wait_until(lambda: epoch(redis) not in (None, other_than), "an epoch begins", timeout)


class Load:
    """Clients that send one request after the other, by turns to each gateway with each key."""

    def __init__(self, gateways, clients=6):
        self._gateways = gateways
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(i,)) for i in range(clients)]
        self.statuses = collections.Counter()
        self.slowest = 0

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _send(self, i):
        url = self._gateways[i % len(self._gateways)].url
        key = [KEY, "sk-other"][i // len(self._gateways) % 2]
        with httpx.Client(base_url=url, headers=bearer(key), timeout=30) as client:
            while not self._done.is_set():
                begin = time.monotonic()
                status = client.post(CHAT, json=BODY).status_code
                self.slowest = max(self.slowest, time.monotonic() - begin)
                self.statuses[status] += 1

    def wait_more(self, count=60, status=200):
        """Until so many more have been answered so."""
        enough = self.statuses[status] + count
        wait_until(lambda: self.statuses[status] >= enough, f"{count} more times {status}", 30)


def counters_agree(redis, postgres):
    by_rows = dict(query(postgres, USED))
    return by_rows == {name: redis_state.budget(redis.client, name) for name in by_rows}


def assert_agrees(redis, postgres, gateways, requests, timeout=40):
    """Each request has a row, each row has been counted once; also when nobody has more to tell."""

    def agrees():
        [(rows,)] = query(postgres, "SELECT count(*) FROM llm_spend")
        return rows >= requests and counters_agree(redis, postgres)

    try:
        wait_until(agrees, "Redis has counted the rows", timeout)
    except AssertionError:
        used = {n: redis_state.budget(redis.client, n) for n in redis_state.counters(redis.client)}
        print(requests, query(postgres, USED), used, query(postgres, "TABLE llm_budget_spend"))
        raise
    for one in gateways:
        one.stop()
    assert query(postgres, "SELECT count(*) FROM llm_spend") == [(requests,)]
    assert counters_agree(redis, postgres)
    assert not redis_state.open_holds(redis.client)


def flush(redis, postgres):
    """For a second nobody may rebuild what is gone."""
    with redis.client.pipeline(transaction=True) as both:
        both.flushall().set(LOCK, "another", px=1_000)
        both.execute()


def restart_empty(redis, postgres):
    redis.stop()
    redis.start()


def stop_for_ten_seconds(redis, postgres):
    redis.stop()
    back = time.monotonic() + 10
    wait_until(lambda: time.monotonic() >= back, "ten seconds", 11)
    redis.start()


def flush_twice(redis, postgres):
    before = epoch(redis)
    redis.client.flushall()
    wait_epoch(redis, before)
    redis.client.flushall()


def flush_without_postgres(redis, postgres):
    postgres.stop()
    redis.client.flushall()
    postgres.start()


@pytest.mark.parametrize(
    "loss, on_failure",
    [
        (flush, "local"),
        (flush, "deny"),
        (flush, "allow"),
        (flush_twice, "local"),
        (restart_empty, "local"),
        (stop_for_ten_seconds, "local"),
        (flush_without_postgres, "local"),
    ],
)
def test_under_load(gateway, mock, redis, postgres, loss, on_failure):
    mock.behave(tokens=TOKENS // 2)
    both = [
        gateway(workers=2, reuseport=True, **settings(redis, postgres, on_failure)) for _ in range(2)
    ]
    wait_epoch(redis)
    with Load(both) as load:
        load.wait_more()
        first = epoch(redis)
        loss(redis, postgres)
        load.wait_more(20, 503 if on_failure == "deny" else 200)
        wait_epoch(redis, first)
        load.wait_more()
    assert set(load.statuses) == ({200, 503} if on_failure == "deny" else {200})
    assert load.slowest < SLOWEST
    assert_agrees(redis, postgres, both, load.statuses.total())


def test_with_what_it_knew_nothing_is_brought_back(gateway, mock, redis, postgres):
    """Redis was away, and is back with its memory: nodes tell it what was used, rows do not."""
    mock.behave(tokens=TOKENS // 2)
    one = gateway(workers=2, reuseport=True, **settings(redis, postgres))
    wait_epoch(redis)
    with Load([one]) as load:
        load.wait_more()
        first = epoch(redis)
        redis.stop(keep=True)
        load.wait_more()
        redis.start()
        load.wait_more()
    assert epoch(redis) == first
    assert_agrees(redis, postgres, [one], load.statuses.total())


def test_budgets_hold_and_windows_stay(gateway, mock, redis, postgres):
    """A node that has never seen the counters finds them used up, and as old as they were."""
    mock.behave(tokens=TOKENS)
    strict = settings(
        redis, postgres, "deny", budgets=["key=* 0.0005usd/1d", "global 1000usd/1d"], limits=[]
    )
    one = gateway(**strict)
    wait_epoch(redis)
    statuses = [one.client.post(CHAT, json=BODY).status_code for _ in range(7)]
    assert statuses == [200] * 5 + [429] * 2
    postgres.wait_rows(7)
    name = next(n for n in redis_state.counters(redis.client) if n.startswith("key:"))
    before = redis_state.numbers(redis.client, name)
    redis.client.flushall()
    other = gateway(**strict)
    wait_epoch(redis)
    assert redis_state.numbers(redis.client, name) == (*before[:4], 5 * NANO_USD)
    for each in (one, other):
        denied = each.client.post(CHAT, json=BODY)
        assert denied.status_code == 429
        assert denied.json()["error"]["code"] == "budget_exceeded"
    assert redis_state.budget(redis.client, GLOBAL) == 5 * NANO_USD


def test_rows_that_come_late(gateway, mock, redis, postgres):
    """One node keeps its rows in the spool until long after the rebuilding."""
    mock.behave(tokens=TOKENS // 2)
    late = gateway(**settings(redis, postgres, postgres_options="batch=10000 flush=60s"))
    one = gateway(**settings(redis, postgres))
    wait_epoch(redis)
    with Load([one, late], clients=4) as load:
        load.wait_more()
        first = epoch(redis)
        redis.client.flushall()
        wait_epoch(redis, first)
        load.wait_more()
    held_back = len(late.spool_rows())
    assert held_back > 0
    missing = sum(row["cost_nano_usd"] for row in late.spool_rows() if row["epoch"] == int(first))
    assert missing > 0
    late.reload(postgres_options="batch=100 flush=100ms")
    assert_agrees(redis, postgres, [one, late], load.statuses.total())


def test_postgres_is_away(gateway, mock, redis, postgres):
    """Until it is back, on_failure decides; the log says so once."""
    mock.behave(tokens=TOKENS // 2)
    one = gateway(**settings(redis, postgres, "deny"))
    wait_epoch(redis)
    assert one.client.post(CHAT, json=BODY).status_code == 200
    postgres.stop()
    redis.client.flushall()
    complaint = "what budgets have used cannot be read from Postgres"
    wait_until(lambda: complaint in one.error_log, "it is said")
    for _ in range(3):
        assert one.client.post(CHAT, json=BODY).status_code == 503
    assert epoch(redis) is None
    postgres.start()
    wait_epoch(redis)
    assert one.client.post(CHAT, json=BODY).status_code == 200
    assert one.error_log.count(complaint) == 1
    assert_agrees(redis, postgres, [one], 5)


def test_rights(gateway, mock, redis, postgres):
    """SELECT on the sums is all that it takes."""
    role = f"gateway_{uuid.uuid4().hex}"
    run(postgres, f"CREATE ROLE {role} LOGIN", f"GRANT SELECT, INSERT ON llm_spend TO {role}")
    changed = {"postgres": postgres.conninfo.replace("user=postgres", f"user={role}")}
    one = gateway(**settings(redis, postgres) | changed)
    try:
        denied = "permission denied for table llm_budget_spend"
        wait_until(lambda: denied in one.error_log, "it is said")
        assert one.client.post(CHAT, json=BODY).status_code == 200  # by the node alone
        assert epoch(redis) is None
        run(postgres, f"GRANT SELECT ON llm_budget_spend TO {role}")
        wait_epoch(redis)
        assert one.client.post(CHAT, json=BODY).status_code == 200
        assert_agrees(redis, postgres, [one], 2)
    finally:
        one.stop()
        run(postgres, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_windows_that_nodes_began_on_their_own_become_one(gateway, mock, redis, postgres):
    """It is the one that most was charged to; what is over or long past stays out."""
    day = 86_400_000
    sums = [(-3, -2, 1, 900), (-20, 10, 1, 300), (-20, 10, 2, 200), (-25, 5, 1, 9), (-1, 29, 1, 400)]
    with psycopg.connect(postgres.conninfo) as connection:
        now = int(time.time() * 1000)
        for begin, end, in_epoch, cost in sums:
            connection.execute(
                "INSERT INTO llm_budget_spend VALUES ('a', %s, %s, %s, %s, pg_current_xact_id())",
                [now + begin * day, now + end * day, in_epoch, cost],
            )
    gateway(**settings(redis, postgres))
    wait_epoch(redis)
    assert redis_state.numbers(redis.client, "a") == (now - 20 * day, now + 10 * day, 909, 0, 909)


# ---- many counters

COUNTERS = 40_000


def make_sums(postgres):
    """Counter i has used i nano-USD in each of two epochs."""
    run(
        postgres,
        f"""INSERT INTO llm_budget_spend SELECT 'key:' || i || ':usd:1d', now_ms - 5, now_ms + 86400000,
            epoch, i, pg_current_xact_id()
        FROM generate_series(1, {COUNTERS}) AS i, generate_series(1, 2) AS epoch,
            (SELECT (extract(epoch FROM now()) * 1000)::bigint AS now_ms) AS clock""",
    )


def assert_all_sums(redis):
    keys = [f"{redis_state.PREFIX}key:{i}:usd:1d" for i in range(1, COUNTERS + 1)]
    used = [struct.unpack_from("<3d", value)[2] for value in redis.client.mget(keys)]
    assert used == [2 * i for i in range(1, COUNTERS + 1)]


def wait_middle(redis):
    wait_until(lambda: 1_000 < redis.client.dbsize() and epoch(redis) is None, "it is at it")


def test_the_restorer_is_killed_in_the_middle(gateway, mock, redis, postgres):
    make_sums(postgres)
    one = gateway(start=False, **settings(redis, postgres))
    redis.client.set(LOCK, "another")  # nobody begins before we look
    one.start()
    redis.client.delete(LOCK)
    wait_middle(redis)
    one.kill_worker()
    assert epoch(redis) is None and redis.client.dbsize() < COUNTERS
    wait_epoch(redis)
    assert_all_sums(redis)


def test_two_restore_at_once(gateway, mock, redis, postgres):
    """Their lock is of no use: it is taken from whoever has it."""
    make_sums(postgres)
    for _ in range(2):
        gateway(**settings(redis, postgres))
    at_it = set()
    for _ in range(20):
        wait_epoch(redis)
        assert_all_sums(redis)
        if len(at_it) == 2:
            return
        redis.client.flushall()
        at_it = set()
        while epoch(redis) is None:
            at_it |= {redis.client.getdel(LOCK)} - {None}
    raise AssertionError("they have never met")


def test_the_event_loop_goes_on(gateway, mock, redis, postgres):
    """While many counters come back, requests are answered."""
    make_sums(postgres)
    one = gateway(**settings(redis, postgres))
    wait_epoch(redis)
    first = epoch(redis)
    with Load([one], clients=2) as load:
        load.wait_more(20)
        redis.client.flushall()
        wait_middle(redis)
        load.wait_more(20)
        wait_epoch(redis, first)
    assert set(load.statuses) == {200}
    assert load.slowest < SLOWEST
    with contextlib.suppress(psycopg.Error):
        run(postgres, "DELETE FROM llm_budget_spend WHERE counter LIKE 'key:%:usd:1d'")
