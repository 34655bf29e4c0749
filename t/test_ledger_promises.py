"""What the ledger promises under load, races and kills, with either ledger.

The model `output-only` costs 1000 nano-USD per output token and nothing for its prompt.
"""

import asyncio
import collections
import contextlib
import random
import threading
import time

import httpx
import pytest

from support import redis_state
from support.calls import CHAT, chat
from support.gateway import bearer
from support.load import fire
from support.nginx_conf import KEY
from support.waiting import wait_until

TOKENS = 100
NANO_USD = 1000 * TOKENS


def body(max_tokens=TOKENS):
    return chat(model="output-only", max_tokens=max_tokens)


def usd(requests):
    """The price of so many requests, as a directive writes it."""
    return f"{requests * NANO_USD / 1e9:.6f}usd"


class Watch:
    """Reads budgets from Redis as fast as it can, while the block runs."""

    def __init__(self, redis, limits):
        self._redis, self._limits = redis, limits
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.looks, self.most = 0, collections.Counter()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    def _look(self):
        while not self._done.is_set():
            self.looks += 1
            for name in self._limits:
                used = redis_state.budget(self._redis.client, name)
                self.most[name] = max(self.most[name], used)

    def assert_never_above(self):
        assert self.looks > 10
        above = {n: m for n, m in self.most.items() if m > self._limits[n]}
        assert not above


def nested_keys():
    """Four keys, two in each team, all of one organization."""
    return [
        {"key": f"sk-{i}", "alias": f"k{i}", "team": f"t{i % 2}", "user": f"u{i}", "org": "acme"}
        for i in range(4)
    ]


async def post_all(urls, requests):
    """Sends (key, body) pairs, spread over the gateways; returns the statuses."""
    limits = httpx.Limits(max_connections=len(requests), max_keepalive_connections=0)
    async with httpx.AsyncClient(limits=limits, timeout=120) as client:
        sends = [
            client.post(urls[i % len(urls)] + CHAT, json=body, headers=bearer(key))
            for i, (key, body) in enumerate(requests)
        ]
        return [response.status_code for response in await asyncio.gather(*sends)]


@pytest.mark.parametrize("backend", ["memory", "redis"])
def test_a_thousand_at_once_against_four_nested_budgets(gateway, mock, request, backend):
    """Random sizes; on two gateways that share a Redis, or on one with two workers."""
    mock.behave(tokens=TOKENS, delay_ms=300)
    limits = {"global": 440, "org=acme": 400, "team=t0": 220, "team=t1": 220, "key=*": 130}
    settings = {
        "workers": 2,
        "reuseport": True,
        "keys": nested_keys(),
        "budgets": [f"{scope} {usd(n)}/1mo" for scope, n in limits.items()],
    }
    rng = random.Random(5)

    def requests(count):
        return [(f"sk-{rng.randrange(4)}", body(rng.randrange(100, 900))) for _ in range(count)]

    if backend == "redis":
        redis = request.getfixturevalue("redis")
        settings["redis"] = f"{redis.url} timeout=10s on_failure=deny"
        gateways = [gateway(**settings) for _ in range(2)]
        watched = {"global:usd:1mo": 440, "org:acme:usd:1mo": 400, "team:t0:usd:1mo": 220, "team:t1:usd:1mo": 220}
        watch = Watch(redis, {name: n * NANO_USD for name, n in watched.items()})
    else:
        gateways = [gateway(**settings)]
        watch = contextlib.nullcontext()
    urls = [one.url for one in gateways]
    with watch:
        statuses = asyncio.run(post_all(urls, requests(1000)))
        assert set(statuses) == {200, 429}
        while 200 in (more := asyncio.run(post_all(urls, requests(40)))):
            statuses += more
    if backend == "redis":
        watch.assert_never_above()
    cost = sum(row["cost_nano_usd"] for one in gateways for row in one.spool_rows())
    assert cost == statuses.count(200) * NANO_USD
    assert 0.95 * 400 * NANO_USD <= cost <= 400 * NANO_USD


def test_tokens_held_by_a_slow_request(gateway, mock, ledger):
    """80 of 100 tokens are held for two seconds, so only one of ten fits."""
    mock.behave(delay_ms=2000)
    one = gateway(workers=2, reuseport=True, limits=["key=* tpm=100"], **ledger)
    responses = fire(one, [body(80)] * 10)
    assert collections.Counter(r.status_code for r in responses) == {200: 1, 429: 9}
    assert mock.count() == 1


def test_a_killed_worker_gives_its_slots_back_and_forgives_nothing(gateway, mock, ledger):
    mock.behave(tokens=TOKENS, chunk_delay_ms=100)
    held, budget = 50, 60
    one = gateway(budgets=[f"key=* {usd(budget)}/1d"], limits=[f"key=* parallel={held}"], **ledger)
    limits = httpx.Limits(max_connections=2 * held)
    with httpx.Client(base_url=one.url, headers=bearer(KEY), timeout=30, limits=limits) as client:
        with contextlib.ExitStack() as streams, contextlib.suppress(httpx.HTTPError):
            for _ in range(held):
                stream = client.stream("POST", CHAT, json=body() | {"stream": True})
                assert streams.enter_context(stream).status_code == 200
            assert client.post(CHAT, json=body()).status_code == 429  # no slot
            one.kill_worker()
    mock.behave(tokens=TOKENS)
    wait_until(lambda: one.client.post(CHAT, json=body()).status_code == 200, "the slots are back")
    statuses = [one.client.post(CHAT, json=body()).status_code for _ in range(budget - held)]
    assert statuses == [200] * (budget - held - 1) + [429]


def test_a_changed_budget_acts_on_the_next_request(gateway, mock, ledger):
    mock.behave(tokens=TOKENS)
    one = gateway(budgets=[f"key=* {usd(3)}/1d"], **ledger)

    def serves(count):
        statuses = [one.client.post(CHAT, json=body()).status_code for _ in range(count + 1)]
        return statuses == [200] * count + [429]

    assert serves(3)
    one.reload(budgets=[f"key=* {usd(5)}/1d"])
    assert serves(2)
    one.reload(budgets=[f"key=* {usd(4)}/1d"])  # less than is used
    assert serves(0)
    one.reload(budgets=[])
    assert one.client.post(CHAT, json=body()).status_code == 200
    one.reload(budgets=[f"key=* {usd(7)}/1d"])  # nothing was counted while there was none
    assert serves(2)


@pytest.mark.parametrize("on_failure", ["local", "deny", "allow"])
def test_redis_stopped_under_load(gateway, mock, redis, on_failure):
    """No request hangs, those that are served are counted, in Redis as in the rows."""
    mock.behave(tokens=TOKENS // 2)
    one = gateway(
        workers=2,
        reuseport=True,
        redis=f"{redis.url} timeout=200ms on_failure={on_failure}",
        budgets=[f"global {usd(100_000)}/1d"],
        limits=["key=* rpm=1m parallel=1000"],
    )
    answers = []  # (when, seconds, status)
    done = threading.Event()

    def client():
        with httpx.Client(base_url=one.url, headers=bearer(KEY), timeout=30) as own:
            while not done.is_set():
                start = time.monotonic()
                status = own.post(CHAT, json=body()).status_code
                answers.append((start, time.monotonic() - start, status))

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()

    def another(count):
        seen = len(answers)
        wait_until(lambda: len(answers) >= seen + count, f"{count} more answers", 30)

    another(200)
    redis.stop(keep=True)
    gone = time.monotonic()
    another(500)
    returning = time.monotonic()
    redis.start()
    back = time.monotonic()
    wait_until(lambda: answers[-1][0] > back and answers[-1][2] == 200, "it serves again")
    another(200)
    done.set()
    for thread in threads:
        thread.join()

    assert max(seconds for _, seconds, _ in answers) < 2
    during = {status for when, took, status in answers if gone < when and when + took < returning}
    assert during == ({503} if on_failure == "deny" else {200})
    rows = one.wait_rows(len(answers))
    cost = sum(row["cost_nano_usd"] for row in rows)
    assert cost == sum(status == 200 for *_, status in answers) * NANO_USD // 2
    used = lambda: redis_state.budget(redis.client, "global:usd:1d")  # noqa: E731
    wait_until(lambda: used() == cost, f"Redis has counted {cost}", 20)
    wait_until(lambda: not redis_state.open_holds(redis.client), "no hold is left")
