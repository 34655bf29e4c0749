"""Redis goes away and comes back: what was used meanwhile is counted there, once.

The model `output-only` costs 1000 nano-USD per output token and nothing for its prompt.
"""

import contextlib
import signal
import threading

import pytest

from support import redis_state
from support.calls import CHAT, chat
from support.waiting import wait_until

BUDGET = "global:usd:1d"
TOKENS = 100
NANO_USD = 1000 * TOKENS
BODY = chat(model="output-only", max_tokens=TOKENS)
STREAM = BODY | {"stream": True}


@contextlib.contextmanager
def frozen(redis):
    """It accepts connections and says nothing."""
    redis.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        redis.signal(signal.SIGCONT)


@contextlib.contextmanager
def stopped(redis):
    """Gone, and back with what it knew."""
    redis.stop(keep=True)
    try:
        yield
    finally:
        redis.start()


@contextlib.contextmanager
def emptied(redis):
    """Gone, and back with nothing."""
    redis.stop()
    try:
        yield
    finally:
        redis.start()


def settings(redis, on_failure="local"):
    return {
        "redis": f"{redis.url} timeout=200ms on_failure={on_failure}",
        "budgets": ["global 1000usd/1d"],
        "limits": ["key=* parallel=20 tpm=1m"],
    }


def cost_of_rows(one):
    return sum(row["cost_nano_usd"] for row in one.spool_rows())


def used(redis):
    return redis_state.budget(redis.client, BUDGET)


def assert_redis_agrees(one, redis):
    """Redis has counted what the spend rows say, and no request holds anything."""
    cost = cost_of_rows(one)
    wait_until(lambda: used(redis) == cost, f"{cost} nano-USD used in Redis, not {used(redis)}", 20)
    wait_until(lambda: not redis_state.open_holds(redis.client), "no hold is left")
    assert sum(redis_state.slots(redis.client, slots_name(redis)).values()) == 0


def slots_name(redis):
    return next(name for name in redis_state.counters(redis.client) if "parallel" in name)


class Streams:
    """Streams that run, until each is let go to its end."""

    def __init__(self, one, count):
        self._stack = contextlib.ExitStack()
        opened = [
            self._stack.enter_context(one.client.stream("POST", CHAT, json=STREAM))
            for _ in range(count)
        ]
        assert {response.status_code for response in opened} == {200}
        self._opened = opened

    def finish(self):
        for response in self._opened:
            response.read()
        self._stack.close()


def send(one, count):
    statuses = {one.client.post(CHAT, json=BODY).status_code for _ in range(count)}
    assert statuses == {200}


@pytest.mark.parametrize("outage", [frozen, stopped])
@pytest.mark.parametrize("on_failure", ["local", "allow"])
def test_what_was_used_is_counted_once(gateway, mock, redis, outage, on_failure):
    mock.behave(tokens=TOKENS // 2)
    one = gateway(workers=2, reuseport=True, **settings(redis, on_failure))
    send(one, 3)
    with outage(redis):
        send(one, 5)
    send(one, 3)
    one.wait_rows(11)
    assert_redis_agrees(one, redis)
    assert used(redis) == 11 * NANO_USD // 2


@pytest.mark.parametrize("end", ["reload", "kill"])
@pytest.mark.parametrize("outage", [frozen, stopped])
def test_it_outlives_the_worker(gateway, mock, redis, outage, end):
    """Requests that Redis holds end in the outage, others begin and end in it; then the worker ends."""
    mock.behave(tokens=TOKENS // 2, chunk_delay_ms=10)
    one = gateway(**settings(redis))
    send(one, 2)
    streams = Streams(one, 3)
    with outage(redis):
        streams.finish()
        send(one, 4)
        one.wait_rows(9)
        old = one.workers()
        one.reload() if end == "reload" else one.kill_worker(old[0])
        wait_until(lambda: not set(old) & set(one.all_workers()), "the old worker is gone")
    assert_redis_agrees(one, redis)
    assert used(redis) == 9 * NANO_USD // 2
    send(one, 1)


@pytest.mark.parametrize("outage", [frozen, stopped])
def test_a_killed_workers_requests_are_charged_as_held(gateway, mock, redis, outage):
    mock.behave(tokens=TOKENS, chunk_delay_ms=200)
    one = gateway(**settings(redis))
    with contextlib.suppress(Exception):  # the connections of a killed worker
        before = Streams(one, 2)
        with outage(redis):
            meanwhile = Streams(one, 3)
            one.kill_worker()
        del before, meanwhile
    wait_until(lambda: used(redis) == 5 * NANO_USD, "five requests as held")
    wait_until(lambda: not redis_state.open_holds(redis.client), "no hold is left")
    slots = redis_state.slots(redis.client, slots_name(redis))
    assert sum(slots.values()) == 0


def test_settlements_of_lost_holds_are_charged(gateway, mock, redis):
    """Redis comes back empty while requests run that it had held."""
    mock.behave(tokens=TOKENS // 2, chunk_delay_ms=20)
    one = gateway(**settings(redis))
    send(one, 2)
    streams = Streams(one, 3)
    with emptied(redis):
        send(one, 2)
    streams.finish()
    one.wait_rows(7)
    wait_until(lambda: used(redis) == 5 * NANO_USD // 2, "all but what was settled before")
    wait_until(lambda: not redis_state.open_holds(redis.client), "no hold is left")


def test_no_limit_is_exceeded_at_the_edge(gateway, mock, redis):
    """Requests keep coming from many clients while Redis goes: the node's memory takes over."""
    mock.behave(tokens=TOKENS)
    limit = 60
    changed = settings(redis) | {"budgets": [f"global {limit * NANO_USD / 1e9}usd/1d"], "limits": []}
    one = gateway(workers=2, reuseport=True, **changed)
    statuses = []

    def client():
        while len(statuses) < 3 * limit:
            statuses.append(one.client.post(CHAT, json=BODY).status_code)

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: statuses.count(200) >= limit // 3, "some are served")
    with stopped(redis):
        for thread in threads:
            thread.join()
    one.wait_rows(len(statuses))
    assert set(statuses) == {200, 429}
    assert statuses.count(200) == limit
    wait_until(lambda: used(redis) == limit * NANO_USD, "Redis has counted them all")
