"""The Lua script that brings sums of rows back to Redis, run by a real redis-server."""

import random
import re
import struct
import time
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "ledger" / "redis_restore.cpp"
SCRIPT = re.search(r'R"lua\((.*?)\)lua"', SOURCE.read_text(), re.S).group(1)
CLOCK = "call('TIME')"
PREFIX = "llm:{l}:"
EPOCH, LOCK = PREFIX + "epoch", PREFIX + "restorer"
LOCK_MS, KEEP_MS = 10_000, 3_600_000
HOUR = 3_600_000


class Restorer:
    """Calls the script as a node does, at the time that `now` says."""

    def __init__(self, client, owner=1):
        assert SCRIPT.count(CLOCK) == 1
        self.client, self.owner = client, owner
        self.now = int(time.time() * 1000) // HOUR * HOUR + 10 * HOUR  # beyond expiry by real time
        self._script = client.register_script(SCRIPT.replace(CLOCK, "call('MGET', 't:s', 't:us')"))

    def __call__(self, *sums, epoch=0, begins=0):
        """sums: (counter, start, end, sum). The answer: who leads, the epoch."""
        self.client.mset({"t:s": self.now // 1000, "t:us": self.now % 1000 * 1000})
        keys = [EPOCH, LOCK, *(PREFIX + name for name, *_ in sums)]
        packed = b"".join(struct.pack("<3d", *numbers) for _, *numbers in sums)
        args = [self.owner, LOCK_MS, epoch, begins, KEEP_MS, packed]
        leads, present, now = struct.unpack("<3d", self._script(keys=keys, args=args))
        assert now == self.now
        return leads == 1, int(present)

    def counter(self, name):
        """start, end, used, rolled, taken"""
        value = self.client.get(PREFIX + name)
        return value and [int(n) for n in struct.unpack(f"<{len(value) // 8}d", value)]

    def set_counter(self, name, *numbers):
        self.client.set(PREFIX + name, struct.pack(f"<{len(numbers)}d", *numbers), px=KEEP_MS)


@pytest.fixture
def restorer(redis):
    return Restorer(redis.client)


def test_counters_come_back_and_then_the_epoch(restorer):
    t = restorer.now
    assert restorer() == (True, 0)
    assert restorer(("a", t - 5, t + HOUR, 700), ("b", t - 9, t + 1, 2**53 - 1)) == (True, 0)
    assert restorer.counter("a") == [t - 5, t + HOUR, 700, 0, 700]
    assert restorer.counter("b") == [t - 9, t + 1, 2**53 - 1, 0, 2**53 - 1]
    left = restorer.client.pttl(PREFIX + "a")
    assert HOUR + KEEP_MS - 2_000 < left <= HOUR + KEEP_MS
    assert restorer(begins=2**53 - 1) == (True, 2**53 - 1)
    assert restorer.client.get(EPOCH) == b"%d" % (2**53 - 1) and restorer.client.ttl(EPOCH) == -1
    assert restorer(begins=5) == (True, 2**53 - 1)  # it has begun


def test_each_amount_counts_once(restorer):
    """However often, in whichever order, beside what is charged meanwhile."""
    t = restorer.now
    direct = 0
    for taken, total in ((5, 5), (5, 5), (12, 12), (12, 7), (12, 5), (20, 20)):
        restorer(("a", t, t + HOUR, total))
        assert restorer.counter("a") == [t, t + HOUR, taken + direct, 0, taken]
        direct += 100
        restorer.set_counter("a", t, t + HOUR, taken + direct, 0, taken)


@pytest.mark.parametrize("present, expected", [(0, 8), (7, 8), (7, 0)])
def test_another_epoch_takes_nothing(restorer, present, expected):
    if present:
        restorer.client.set(EPOCH, present)
    assert restorer(("a", restorer.now, restorer.now + HOUR, 5), epoch=expected) == (True, present)
    assert restorer.counter("a") is None


def test_late_rows_of_a_running_epoch(restorer):
    t = restorer.now
    restorer.client.set(EPOCH, 7)
    restorer.set_counter("a", t, t + HOUR, 40, 0)  # never restored: it has no fifth number
    for _ in range(2):
        assert restorer(("a", t, t + HOUR, 5), ("b", t, t + HOUR, 9), epoch=7) == (True, 7)
        assert restorer.counter("a") == [t, t + HOUR, 45, 0, 5]
        assert restorer.counter("b") == [t, t + HOUR, 9, 0, 9]
    assert restorer.client.pttl(PREFIX + "a") > 0


def test_only_what_belongs_to_the_present_window(restorer):
    t = restorer.now
    restorer(("over", t - HOUR, t, 5))
    assert restorer.counter("over") is None
    restorer.set_counter("a", t, t + HOUR, 40, 1)
    restorer(("a", t - HOUR // 2, t + HOUR // 2, 5))  # it has rolled: that was before
    assert restorer.counter("a") == [t, t + HOUR, 40, 1]
    restorer(("a", t + 9, t + HOUR + 9, 5))
    assert restorer.counter("a") == [t, t + HOUR, 45, 1, 5]
    restorer.set_counter("a", t, t + HOUR, 40, 0)
    restorer(("a", t - HOUR // 2, t + HOUR // 2, 5))  # its first: all of it is this one
    assert restorer.counter("a") == [t, t + HOUR, 45, 0, 5]


def test_a_counter_whose_window_is_over_goes_on_in_the_next(restorer):
    t = restorer.now
    restorer.set_counter("a", t - HOUR, t, 40, 0, 30)
    restorer(("a", t, t + HOUR, 5))
    assert restorer.counter("a") == [t, t + HOUR, 5, 1, 5]


def test_one_leads_until_its_lock_lapses(restorer):
    other, sums = Restorer(restorer.client, owner=2), ("a", restorer.now, restorer.now + HOUR, 5)
    assert restorer() == (True, 0)
    assert other(sums, begins=9) == (False, 0)
    assert other.counter("a") is None
    assert 0 < restorer.client.pttl(LOCK) <= LOCK_MS
    restorer.client.pexpire(LOCK, 1_000)
    restorer()
    assert restorer.client.pttl(LOCK) > 1_000  # renewed
    restorer.client.delete(LOCK)
    assert other(sums, begins=9) == (True, 9)
    assert restorer(sums) == (False, 9)


def test_two_that_restore_at_once_come_to_the_same(restorer):
    """Both read growing sums; each of their calls may come at any time, and twice."""
    t, chance = restorer.now, random.Random(3)
    both = [restorer, Restorer(restorer.client, owner=2)]
    seen = []
    for total in range(0, 300, 3):
        seen.append(total)
        one = chance.choice(both)
        restorer.client.delete(LOCK)
        one(("a", t, t + HOUR, chance.choice(seen[-5:])))
    one(("a", t, t + HOUR, seen[-1]))
    assert restorer.counter("a") == [t, t + HOUR, seen[-1], 0, seen[-1]]
