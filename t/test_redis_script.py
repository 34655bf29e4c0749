"""The Lua script of the Redis ledger, run by a real redis-server.

Most tests run the script with its clock replaced by keys that the test sets, so that windows can be
walked through without waiting; the races and one smoke test run it as it ships.
"""

import random
import re
import struct
import threading
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot

SOURCE = Path(__file__).parent.parent / "src" / "ledger" / "redis_lua.cpp"
SCRIPT = re.search(r'R"lua\((.*?)\)lua"', SOURCE.read_text(), re.S).group(1)
CLOCK = "redis.call('TIME')"
PREFIX = "llm:{l}:"
TTL = 3_600_000  # of a hold
LEASE_TTL = 15_000
KIND = {"f": 1, "c": 2, "n": 3, "s": 4, "p": 5}
SLICES = 12
DENIED, ADMITTED, VOID, NO_EPOCH = 0, 1, 2, 3
EPOCH = PREFIX + "epoch"
MONEY = {"f", "c"}  # of those who have epochs; the other counters are rates and slots


@pytest.fixture
def client(redis_process):
    redis_process.reset()
    return redis_process.client


@dataclass(frozen=True)
class Claim:
    name: str
    kind: str
    a: int = 0
    b: int = 0
    limit: int = 0
    amount: int = 1


def fixed(length, limit, amount=1, name="f"):
    return Claim(name, "f", length, 0, limit, amount)


def calendar(start, end, limit, amount=1, name="c"):
    return Claim(name, "c", start, end, limit, amount)


def endless(limit, amount=1, name="n"):
    return Claim(name, "n", 0, 0, limit, amount)


def sliding(length, limit, amount=1, name="s"):
    return Claim(name, "s", -(-length // SLICES), length, limit, amount)


def parallel(limit, name="p"):
    return Claim(name, "p", 0, 0, limit, 1)


def new_id():
    return str(uuid.uuid4())


def packed(*numbers):
    return struct.pack(f"<{len(numbers)}d", *numbers)


def numbers(text):
    return [int(n) for n in struct.unpack(f"<{len(text) // 8}d", text)]


class Ledger:
    """Calls the script as a worker does; with a clock, at the time that the clock shows."""

    def __init__(self, client, now=None, worker=2**52 - 1, epoch=None):
        self.client = client
        self.worker = worker
        self.epoch = epoch  # that it settles in; None: it knows of none
        self.fake = now is not None
        source = SCRIPT
        if self.fake:
            assert SCRIPT.count(CLOCK) == 1
            source = SCRIPT.replace(CLOCK, "redis.call('MGET', 'test:s', 'test:us')")
            self.now = now
        self.script = client.register_script(source)

    @property
    def lease(self):
        return f"{PREFIX}lease:{self.worker}"

    def call(self, op, request, claims, third, amounts, at=None):
        now = self.now if self.fake else int(time.time() * 1000)
        if self.fake:
            self.client.mset({"test:s": now // 1000, "test:us": now % 1000 * 1000})
        keys = [f"{PREFIX}hold:{request}", self.lease, EPOCH] + [PREFIX + c.name for c in claims]
        each = [packed(KIND[c.kind], c.a, c.b, *two) for c, *two in zip(claims, third, amounts)]
        at = now if at is None else at
        lease_ttl = TTL if self.fake else LEASE_TTL  # expiry goes by the real time
        args = [op, TTL, lease_ttl, self.worker, at, b"".join(each)]
        if self.epoch is not None:
            args += [self.epoch, "".join("m" if c.kind in MONEY else "-" for c in claims)]
        return self.script(keys=keys, args=args)

    def reserve(self, request, *claims):
        """[verdict, denied claim, used, reset, retry, used, reset, retry, …]"""
        amounts = [c.amount for c in claims]
        limits = [c.limit for c in claims]
        verdict, *reply = numbers(self.call("reserve", request, claims, limits, amounts))
        if verdict in (VOID, NO_EPOCH):
            return [verdict]
        denied, retry, _, self.told_epoch, *states = reply
        assert len(states) == 3 * len(claims)
        self.windows = states[2::3]
        answer = [verdict, denied]
        for i in range(len(claims)):
            is_denied = verdict == DENIED and i == denied
            answer += states[3 * i : 3 * i + 2] + [retry if is_denied else 0]
        return answer

    def settle(self, request, claims, amounts, at=None):
        return self.call("settle", request, claims, [c.amount for c in claims], amounts, at)

    def used(self, *claims):
        """What a reserve would find; claims that never fit read without writing."""
        probes = [replace(claim, limit=-1) for claim in claims]
        found = self.reserve(new_id(), *probes)[2::3]
        return found if len(claims) > 1 else found[0]

    def dump(self):
        return {key: self.client.get(key) for key in self.client.keys(PREFIX + "*")}


@pytest.fixture
def ledger(client):
    # In the future of the server, so that its own expiry never interferes.
    return Ledger(client, now=(int(time.time() * 1000) // 60_000 + 60) * 60_000)


def test_fixed_window_admits_to_its_limit_and_rolls_by_whole_lengths(ledger):
    start = ledger.now
    claim = fixed(10_000, limit=5, amount=2)
    assert ledger.reserve(new_id(), claim) == [ADMITTED, 0, 2, 10_000, 0]
    ledger.now += 4_000
    assert ledger.reserve(new_id(), claim) == [ADMITTED, 0, 4, 6_000, 0]
    assert ledger.reserve(new_id(), claim) == [DENIED, 0, 4, 6_000, 6_000]
    assert ledger.reserve(new_id(), replace(claim, amount=1)) == [ADMITTED, 0, 5, 6_000, 0]
    ledger.now = start + 9_999
    assert ledger.reserve(new_id(), claim)[0] == DENIED
    ledger.now = start + 25_000
    assert ledger.reserve(new_id(), claim) == [ADMITTED, 0, 2, 5_000, 0]


def test_an_amount_above_the_limit_never_fits(ledger):
    for claim in (fixed(10_000, 5, 6), sliding(12_000, 5, 6), endless(5, 6)):
        assert ledger.reserve(new_id(), claim)[4] == -1


def test_a_refused_request_does_not_start_a_window(ledger):
    ledger.reserve(new_id(), fixed(10_000, 5, 6))
    assert ledger.dump() == {}


def test_the_clock_stepping_back_keeps_the_window(ledger):
    claim = fixed(10_000, limit=2)
    ledger.reserve(new_id(), claim)
    ledger.now -= 3_000
    assert ledger.reserve(new_id(), claim)[:3] == [ADMITTED, 0, 2]
    assert ledger.reserve(new_id(), claim)[0] == DENIED


def test_calendar_window_comes_from_the_node_and_never_goes_back(ledger):
    t = ledger.now
    old = calendar(t - 1_000, t + 1_000, limit=3)
    new = calendar(t + 1_000, t + 3_000, limit=3)
    assert ledger.reserve(new_id(), old) == [ADMITTED, 0, 1, 1_000, 0]
    ledger.now = t + 1_000
    assert ledger.reserve(new_id(), new) == [ADMITTED, 0, 1, 2_000, 0]
    # a node whose clock is behind counts in the window that has begun
    assert ledger.reserve(new_id(), old) == [ADMITTED, 0, 2, 2_000, 0]
    assert ledger.reserve(new_id(), replace(old, amount=2))[0] == DENIED


def test_a_budget_without_end_never_resets_and_never_expires(ledger):
    claim = endless(3)
    assert ledger.reserve(new_id(), claim) == [ADMITTED, 0, 1, 0, 0]
    ledger.now += 400 * 86_400_000
    assert ledger.reserve(new_id(), replace(claim, amount=2))[2] == 3
    assert ledger.reserve(new_id(), claim)[4] == -1
    assert ledger.client.ttl(PREFIX + "n") == -1


def test_sliding_window(ledger):
    t = ledger.now  # a multiple of the slice
    claim = sliding(12_000, limit=10, amount=6)
    gone = 1_000 + 12_000 - 1
    assert ledger.reserve(new_id(), claim) == [ADMITTED, 0, 6, gone, 0]
    ledger.now = t + 5_000
    assert ledger.reserve(new_id(), replace(claim, amount=4)) == [ADMITTED, 0, 10, gone, 0]
    assert ledger.reserve(new_id(), replace(claim, amount=1)) == [DENIED, 0, 10, gone, gone - 5_000]
    assert ledger.reserve(new_id(), replace(claim, amount=7))[4] == gone  # both must leave
    ledger.now = t + gone - 1
    assert ledger.used(claim) == 10
    ledger.now = t + gone
    assert ledger.used(claim) == 4
    assert ledger.reserve(new_id(), claim)[:3] == [ADMITTED, 0, 10]


def test_no_sliding_window_of_that_length_exceeds_the_limit(ledger):
    rng = random.Random(7)
    length, limit, admitted = 1_000, 20, []  # 1000 is no multiple of 12
    for _ in range(1_500):
        ledger.now += rng.randrange(40)
        claim = sliding(length, limit, rng.randrange(1, 6))
        if ledger.reserve(new_id(), claim)[0] == ADMITTED:
            admitted.append((ledger.now, claim.amount))
    for end, _ in admitted:
        assert sum(a for t, a in admitted if end - length < t <= end) <= limit
    assert len(admitted) > 200


def test_parallel_slots_come_back_at_settle_and_with_the_lease(ledger):
    claim = parallel(2)
    first, second = new_id(), new_id()
    assert ledger.reserve(first, claim) == [ADMITTED, 0, 1, 0, 0]
    assert ledger.reserve(second, claim) == [ADMITTED, 0, 2, 0, 0]
    assert ledger.reserve(new_id(), claim) == [DENIED, 0, 2, 0, 0]
    assert ledger.settle(first, [claim], [0]) == 1
    assert ledger.reserve(new_id(), claim)[0] == ADMITTED
    other = Ledger(ledger.client, ledger.now, worker=7)
    assert other.reserve(new_id(), claim)[0] == DENIED
    ledger.client.delete(ledger.lease)
    assert other.reserve(new_id(), claim)[:3] == [ADMITTED, 0, 1]
    assert ledger.used(claim) == 1  # the other's; under a new lease none is its own


def test_a_settlement_after_the_lease_frees_no_newer_slot(ledger):
    claim, old = parallel(2), new_id()
    ledger.reserve(old, claim)
    ledger.client.delete(ledger.lease)
    ledger.now += 1
    ledger.reserve(new_id(), claim)
    ledger.reserve(new_id(), claim)
    assert ledger.settle(old, [claim], [0]) == 1
    assert ledger.reserve(new_id(), claim)[:3] == [DENIED, 0, 2]


def test_the_lease_is_taken_with_the_first_slot_and_not_moved(client):
    ledger = Ledger(client)
    ledger.reserve(new_id(), endless(9))
    assert not client.exists(ledger.lease)
    ledger.reserve(new_id(), parallel(9))
    client.pexpire(ledger.lease, 9_000)
    ledger.reserve(new_id(), parallel(9))
    assert 0 < client.pttl(ledger.lease) <= 9_000


def test_slots_of_many_workers_add_up(ledger):
    claim = parallel(6)
    workers = [Ledger(ledger.client, ledger.now, worker=n) for n in (3, 2**52 - 2, 99)]
    requests = [(w, new_id()) for w in workers for _ in range(2)]
    for worker, request in requests:
        assert worker.reserve(request, claim)[0] == ADMITTED
    assert ledger.reserve(new_id(), claim)[:3] == [DENIED, 0, 6]
    for left, (worker, request) in zip(range(5, -1, -1), requests):
        assert worker.settle(request, [claim], [0]) == 1
        assert ledger.used(claim) == left


def test_all_claims_or_none(ledger):
    wide = [fixed(10_000, 100), sliding(12_000, 100), endless(100), parallel(100),
            calendar(ledger.now, ledger.now + 10_000, 100)]
    for i in range(len(wide) + 1):
        ledger.reserve(new_id(), *wide)
        before = ledger.dump()
        claims = wide[:i] + [replace(fixed(10_000, 0), name="tight")] + wide[i:]
        reply = ledger.reserve(new_id(), *claims)
        assert reply[:2] == [DENIED, i]
        assert reply[2 + 3 * i + 2] == -1
        assert ledger.dump() == before


def every_kind(ledger, limit=100, amount=10):
    return [fixed(10_000, limit, amount), sliding(12_000, limit, amount), endless(limit, amount),
            calendar(ledger.now, ledger.now + 10_000, limit, amount), parallel(3)]


def used_of(ledger, claims):
    return ledger.used(*claims)


def test_reserve_twice_holds_once(ledger):
    claims, request = every_kind(ledger, limit=10), new_id()
    first = ledger.reserve(request, *claims)
    before = ledger.dump()
    assert ledger.reserve(request, *claims) == first
    assert ledger.dump() == before


@pytest.mark.parametrize("actual", [0, 3, 10, 250])
def test_settle_replaces_the_hold_exactly_once(ledger, actual):
    claims, request = every_kind(ledger), new_id()
    ledger.reserve(new_id(), *claims)
    ledger.reserve(request, *claims)
    amounts = [actual] * 4 + [0]
    assert ledger.settle(request, claims, amounts) == 1
    assert used_of(ledger, claims) == [10 + actual] * 4 + [1]
    assert ledger.settle(request, claims, amounts) == 0
    assert used_of(ledger, claims) == [10 + actual] * 4 + [1]


def test_debt_is_kept(ledger):
    claim, request = fixed(10_000, 10, 10), new_id()
    ledger.reserve(request, claim)
    ledger.settle(request, [claim], [50])
    assert ledger.reserve(new_id(), replace(claim, amount=0))[:3] == [DENIED, 0, 50]
    assert ledger.reserve(new_id(), replace(claim, limit=51, amount=1))[:3] == [ADMITTED, 0, 51]


def test_a_late_settle_changes_nothing_in_a_newer_window(ledger):
    t = ledger.now
    claims = [fixed(10_000, 100, 10), sliding(12_000, 100, 10), calendar(t, t + 10_000, 100, 10)]
    request = new_id()
    ledger.reserve(request, *claims)
    ledger.now = t + 30_000
    newer = claims[:2] + [calendar(t + 30_000, t + 40_000, 100, 10)]
    ledger.reserve(new_id(), *newer)
    assert ledger.settle(request, claims, [99, 99, 99]) == 1
    assert used_of(ledger, newer) == [10, 10, 10]


def test_settle_in_the_same_sliding_window_hits_the_slice_of_the_hold(ledger):
    claim, request = sliding(12_000, 100, 10), new_id()
    t = ledger.now
    ledger.reserve(request, claim)
    ledger.now = t + 6_000
    ledger.reserve(new_id(), claim)
    ledger.settle(request, [claim], [30])
    assert ledger.used(claim) == 40
    ledger.now = t + 12_999
    assert ledger.used(claim) == 10


def test_a_settlement_whose_hold_was_lost_charges_exactly_once(ledger):
    for flush in (ledger.client.flushall, lambda: None):
        claims, request = every_kind(ledger, limit=40), new_id()
        ledger.reserve(request, *claims)
        flush()
        ledger.client.delete(f"{PREFIX}hold:{request}")
        before = used_of(ledger, claims)
        assert ledger.settle(request, claims, [30] * 4 + [0]) == 1
        assert used_of(ledger, claims) == [n + 30 for n in before[:4]] + before[4:]
        assert ledger.settle(request, claims, [30] * 4 + [0]) == 0
        assert used_of(ledger, claims) == [n + 30 for n in before[:4]] + before[4:]


def test_a_correction_takes_no_more_than_there_is(ledger):
    claims = every_kind(ledger)[:4]
    for amount, left in ((7, 7), (-3, 4), (-9, 0), (5, 5)):
        ledger.settle(new_id(), claims, [amount] * 4)
        assert used_of(ledger, claims) == [left] * 4


def test_a_reserve_that_arrives_after_its_settlement_is_void(ledger):
    claims, request = every_kind(ledger), new_id()
    ledger.settle(request, claims, [0] * 5)
    assert ledger.reserve(request, *claims) == [VOID]
    assert used_of(ledger, claims) == [0] * 5


def test_a_charge_goes_to_the_window_of_its_admission(ledger):
    t = ledger.now
    day = calendar(t - 5_000, t + 5_000, 100)
    claims = [fixed(10_000, 100), sliding(12_000, 100), day]
    ledger.reserve(new_id(), *claims)
    ledger.now = t + 11_000
    newer = claims[:2] + [calendar(t + 5_000, t + 15_000, 100)]
    ledger.reserve(new_id(), *newer)
    assert used_of(ledger, newer) == [1, 2, 1]
    ledger.settle(new_id(), claims, [7, 7, 7], at=t + 2_000)  # an older window, but of the sliding one
    assert used_of(ledger, newer) == [1, 9, 1]
    ledger.settle(new_id(), newer, [7, 7, 7], at=t + 10_500)
    assert used_of(ledger, newer) == [8, 16, 8]
    ledger.settle(new_id(), [claims[1]], [7], at=t - 12_000)  # out of the sliding window
    assert ledger.used(claims[1]) == 16
    ledger.now = t + 15_000 - 1
    assert ledger.used(claims[1]) == 8  # what was charged to t + 2000 has left


def test_charges_that_begin_a_counter_may_come_in_any_order(ledger):
    claim, t = fixed(10_000, 100), ledger.now
    ledger.now = t + 5_000
    for at in (t + 3_000, t, t + 4_000):
        ledger.settle(new_id(), [claim], [7], at=at)
    assert ledger.used(claim) == 21
    assert ledger.reserve(new_id(), claim) == [ADMITTED, 0, 22, 8_000, 0]


def test_a_charge_from_a_node_whose_clock_is_ahead_counts_now(ledger):
    claim = sliding(12_000, 100)
    ledger.settle(new_id(), [claim], [7], at=ledger.now + 3_600_000)
    assert ledger.used(claim) == 7
    ledger.now += 13_000
    assert ledger.used(claim) == 0


def test_amounts_are_exact_up_to_nine_quadrillion(ledger):
    most = 9_000_000_000_000_000
    for claim in (fixed(10_000, most), sliding(12_000, most), endless(most),
                  calendar(ledger.now, ledger.now + 9_000, most)):
        request, held = new_id(), replace(claim, amount=most - 1)
        assert ledger.reserve(request, held)[2] == most - 1
        assert ledger.reserve(new_id(), replace(claim, amount=2))[0] == DENIED
        assert ledger.reserve(new_id(), replace(claim, amount=1))[:3] == [ADMITTED, 0, most]
        assert ledger.settle(request, [held], [most - 3]) == 1
        assert ledger.used(claim) == most - 2
        assert ledger.reserve(new_id(), replace(claim, amount=most))[0] == DENIED


def test_every_key_has_a_time_to_live_that_covers_its_window(client):
    ledger = Ledger(client)
    now = int(time.time() * 1000)
    claims = [fixed(10_000, 9), sliding(12_000, 9), calendar(now, now + 20_000, 9), parallel(9)]
    request = new_id()
    ledger.reserve(request, *claims)
    ttl = {c.name: client.pttl(PREFIX + c.name) for c in claims}
    assert 10_000 + TTL - 2_000 < ttl["f"] <= 10_000 + TTL
    assert 12_000 + TTL - 2_000 < ttl["s"] <= 13_000 + TTL
    assert 20_000 + TTL - 2_000 < ttl["c"] <= 20_000 + TTL
    assert TTL - 2_000 < ttl["p"] <= TTL
    assert TTL - 2_000 < client.pttl(f"{PREFIX}hold:{request}") <= TTL
    assert LEASE_TTL - 2_000 < client.pttl(ledger.lease) <= LEASE_TTL
    ledger.settle(request, claims, [2, 2, 2, 0])
    ledger.settle(new_id(), [replace(c, name="x" + c.name) for c in claims], [5, 5, 5, 0])
    assert all(client.pttl(key) > 0 for key in client.keys("*"))


def test_a_calendar_window_long_over_by_this_clock_is_not_forgotten_at_once(client):
    ledger = Ledger(client)
    now = int(time.time() * 1000)
    claim = calendar(now - 7_200_000, now - 3_600_000, 1)  # a node whose clock is an hour behind
    assert ledger.reserve(new_id(), claim)[:3] == [ADMITTED, 0, 1]
    assert ledger.reserve(new_id(), claim)[:3] == [DENIED, 0, 1]


def test_names_may_be_any_bytes(ledger):
    claim = fixed(10_000, 1, name="team:\x00\r\n$3 ü%")
    assert ledger.reserve(new_id(), claim)[0] == ADMITTED
    assert ledger.reserve(new_id(), claim)[0] == DENIED


def test_all_keys_share_the_slot_of_the_prefix(ledger):
    ledger.reserve(new_id(), *every_kind(ledger))
    assert len({key_slot(key) for key in ledger.dump()}) == 1


# ---- epochs: money that Redis has lost is brought back by rows, and must not count twice


def with_epoch(ledger, present, own):
    ledger.client.set(EPOCH, present) if present else ledger.client.delete(EPOCH)
    return Ledger(ledger.client, ledger.now, epoch=own)


def test_without_an_epoch_nothing_is_admitted_or_changed(ledger):
    theirs = with_epoch(ledger, None, 0)
    assert theirs.reserve(new_id(), *every_kind(ledger)) == [NO_EPOCH]
    assert ledger.dump() == {}
    assert ledger.reserve(new_id(), *every_kind(ledger))[0] == ADMITTED  # it does not ask for one
    assert ledger.told_epoch == 0


def test_an_admission_tells_the_epoch_and_the_windows(ledger):
    epoch, t = 2**53 - 1, ledger.now
    theirs = with_epoch(ledger, epoch, 0)
    claims = [fixed(10_000, 9), calendar(t - 7, t + 10_000, 9)]
    theirs.reserve(new_id(), *claims)
    theirs.now += 4_000
    assert theirs.reserve(new_id(), *claims)[0] == ADMITTED
    assert theirs.told_epoch == epoch and theirs.windows == [t, t - 7]
    assert theirs.reserve(new_id(), replace(claims[0], limit=1), claims[1])[0] == DENIED
    assert theirs.told_epoch == epoch and theirs.windows == [t, t - 7]
    theirs.now = t + 25_000
    theirs.reserve(new_id(), claims[0])
    assert theirs.windows == [t + 20_000]
    ledger.now = theirs.now
    ledger.reserve(new_id(), *claims)
    assert ledger.told_epoch == 0  # who does not ask is told none


@pytest.mark.parametrize("own", [0, 1, 77, 78])
def test_without_a_hold_money_is_charged_in_its_epoch_only(ledger, own):
    """f and c are money, s and n are not: no row brings those."""
    theirs, claims = with_epoch(ledger, 77, own), every_kind(ledger)
    money = 30 if own == 77 else 0
    request = new_id()
    assert theirs.settle(request, claims, [30] * 4 + [0]) == 1
    assert used_of(ledger, claims) == [money, 30, 30, money, 0]
    assert theirs.settle(request, claims, [30] * 4 + [0]) == 0


@pytest.mark.parametrize("own", [1, 77])
def test_a_hold_of_another_epoch_is_given_back(ledger, own):
    """Its admission was answered too late: the node has decided, in the epoch that it knew."""
    theirs, claims, request = with_epoch(ledger, 77, own), every_kind(ledger), new_id()
    assert theirs.reserve(request, *claims)[0] == ADMITTED
    theirs.settle(request, claims, [30] * 4 + [0])
    money = 30 if own == 77 else 0
    assert used_of(ledger, claims) == [money, 30, 30, money, 0]


def test_when_the_epoch_is_lost_money_is_not_charged(ledger):
    theirs, claims, request = with_epoch(ledger, None, 77), every_kind(ledger), new_id()
    assert theirs.settle(request, claims, [30] * 4 + [0]) == 1
    assert used_of(ledger, claims) == [0, 30, 30, 0, 0]


def test_a_charge_leaves_what_rows_have_brought(ledger):
    """The fifth number of a counter; a new window begins without it."""
    t, claim = ledger.now, fixed(10_000, 100)
    ledger.client.set(PREFIX + "f", packed(t, t + 10_000, 40, 0, 30))
    request = new_id()
    assert ledger.reserve(request, claim)[2] == 41
    ledger.settle(request, [claim], [5])
    ledger.settle(new_id(), [claim], [2])
    assert numbers(ledger.client.get(PREFIX + "f")) == [t, t + 10_000, 47, 0, 30]
    ledger.now = t - 90_000  # the clock was wrong: what is used stays
    ledger.reserve(new_id(), claim)
    assert numbers(ledger.client.get(PREFIX + "f"))[2:] == [48, 0, 30]
    ledger.now += 10_000
    ledger.reserve(new_id(), claim)
    assert numbers(ledger.client.get(PREFIX + "f"))[2:] == [1, 1]


def race(url, threads, work):
    failures = []

    def run(i):
        own = redis.Redis.from_url(url)
        try:
            work(Ledger(own), i)
        except Exception as error:  # reported by the test
            failures.append(error)
        finally:
            own.close()

    running = [threading.Thread(target=run, args=(i,)) for i in range(threads)]
    for t in running:
        t.start()
    for t in running:
        t.join()
    assert failures == []


def test_racing_clients_never_exceed_a_limit(redis_process, client):
    budget, rate, slots = endless(100, 1), sliding(600_000, 300, 2, name="r"), parallel(120)
    admitted = []

    def work(ledger, _):
        for _ in range(40):
            if ledger.reserve(new_id(), budget, rate, slots)[0] == ADMITTED:
                admitted.append(1)

    race(redis_process.url, 16, work)
    assert len(admitted) == 100
    assert used_of(Ledger(client), [budget, rate, slots]) == [100, 200, 100]


def test_racing_settlements_of_one_request_count_once(redis_process, client):
    claims = [endless(10_000, 10), parallel(500)]
    requests = [new_id() for _ in range(60)]
    ledger = Ledger(client)
    for request in requests[:30]:
        ledger.reserve(request, *claims)
    done = []

    def work(ledger, i):
        order = requests[:]
        random.Random(i).shuffle(order)
        for request in order:
            done.append(ledger.settle(request, claims, [3, 0]))

    race(redis_process.url, 8, work)
    assert sum(done) == len(requests)
    assert used_of(ledger, claims) == [3 * len(requests), 0]


class Model:
    """The same rules told once more: what each counter has used in each window, forgetting nothing.

    Workers crash: their leases end, and with them the slots that they took.
    """

    CLOCK_STEP = 60_000

    def __init__(self):
        self.holds, self.ended, self.leases = {}, set(), set()
        self.amounts = {}  # by counter and window
        self.latest = {}  # by counter: the window that was last written
        self.rolled = set()  # fixed counters that have begun a second window

    def of(self, c, first, last):
        """What was used in these windows, by window."""
        return {w: n for (name, w), n in self.amounts.items() if name == c.name and first <= w <= last}

    def look(self, c, now):
        """The window that an amount goes to, what counts, whether the clock was set back."""
        latest = self.latest.get(c.name)
        if c.kind == "s":
            return self.look_sliding(c, latest, now)
        start = c.a if c.kind == "c" else now
        if c.kind == "n":
            return 0, self.of(c, 0, 0), False
        if latest is None:
            return start, {}, False
        if latest > now + self.CLOCK_STEP and start < latest:
            return start, self.of(c, latest, latest), True
        if c.kind == "f" and now >= latest + c.a:
            return latest + (now - latest) // c.a * c.a, {}, False
        if c.kind == "c" and latest < c.a:
            return c.a, {}, False
        return latest, self.of(c, latest, latest), False

    def look_sliding(self, c, latest, now):
        present = now // c.a
        if latest is None:
            return present, {}, False
        if present >= latest:
            kept = self.of(c, max(present, latest) - SLICES, present)
            return present, {w: n for w, n in kept.items() if (w + 1) * c.a + c.b - 1 > now}, False
        kept = self.of(c, latest - SLICES, latest)
        if latest - present <= SLICES:
            return latest, kept, False
        return present, kept, True

    def used(self, c, now):
        if c.kind == "p":
            living = (hold for worker, hold in self.holds.values() if worker in self.leases)
            return sum(claim.name == c.name for hold in living for claim, _ in hold)
        return sum(self.look(c, now)[1].values())

    def add(self, c, amount, now, window=None):
        present, counted, moved = self.look(c, now)
        if moved:  # what was used stays
            self.amounts = {key: n for key, n in self.amounts.items() if key[0] != c.name}
            self.amounts[c.name, present] = sum(counted.values())
        if c.kind == "f" and self.latest.get(c.name, present) < present and not moved:
            self.rolled.add(c.name)
        self.latest[c.name] = present
        key = c.name, present if window is None else window
        self.amounts[key] = self.amounts.get(key, 0) + (amount if c.kind != "p" else 0)
        return key[1]

    def reserve(self, worker, request, claims, now):
        if request in self.ended:
            return VOID, None
        if request in self.holds:
            return ADMITTED, None
        for i, c in enumerate(claims):
            if self.used(c, now) + c.amount > c.limit:
                return DENIED, i
        self.leases.add(worker)
        self.holds[request] = worker, [(c, self.add(c, c.amount, now)) for c in claims]
        return ADMITTED, None

    def settle(self, request, claims, amounts, now):
        if request in self.ended:
            return 0
        self.ended.add(request)
        if request in self.holds:
            for (c, window), amount in zip(self.holds.pop(request)[1], amounts):
                if c.kind != "p" and self.keeps(c, window):
                    key = c.name, window
                    self.amounts[key] = max(self.amounts.get(key, 0) - c.amount, 0) + amount
            return 1
        for c, amount in zip(claims, amounts):
            if c.kind != "p" and amount > 0:
                self.charge(c, amount, now)
        return 1

    def keeps(self, c, window):
        oldest = self.latest[c.name] - (SLICES if c.kind == "s" else 0)
        return oldest <= window <= self.latest[c.name]

    def charge(self, c, amount, now):
        window, _, _ = self.look(c, now)
        if c.kind == "s":
            self.add(c, amount, now, min(now // c.a, window))
        elif not (now < window and (c.kind == "c" or c.name in self.rolled)):
            self.add(c, amount, now)


DAY = 86_400_000


class History:
    """Random requests, settlements, lost holds, crashes, limits, steps of the clock; the script and
    the model must agree on every decision and on every counter after each step."""

    def __init__(self, ledger, seed):
        self.ledger, self.random, self.model = ledger, random.Random(seed), Model()
        self.workers = [1, 2, 3]
        self.requests = []  # admitted: (id, claims, worker)
        self.seen = dict.fromkeys((DENIED, ADMITTED, VOID), 0)

    def counters(self):
        """As a node with the right time says now."""
        day = self.ledger.now // DAY * DAY
        return [fixed(7_000, 40, name="f1"), fixed(90_000, 120, name="f2"), endless(4_000),
                sliding(5_000, 30, name="s1"), sliding(100_000, 90, name="s2"),
                sliding(1_234, 25, name="s3"), calendar(day, day + DAY, 600),
                parallel(5, name="p1"), parallel(9, name="p2")]

    def step(self):
        self.move_clock()
        actions = [self.reserve, self.settle, self.lose_hold, self.crash]
        self.random.choices(actions, [55, 35, 5, 2])[0]()
        counters = self.counters()
        found = self.ledger.used(*counters)
        assert found == [self.model.used(c, self.ledger.now) for c in counters]

    def move_clock(self):
        steps = [0, 0, 1, 50, 400, 3_000, 20_000]
        if self.random.random() < 0.03:
            steps = [-20, -700, -30_000, -200_000, -2 * DAY, DAY]
        self.ledger.now += self.random.choice(steps)

    def claims(self):
        counters = self.counters()
        chosen = self.random.sample(counters, self.random.randrange(1, len(counters) + 1))
        amounts = [1 if c.kind == "p" else self.random.randrange(12) for c in chosen]
        limits = [c.limit + self.random.randrange(3) for c in chosen]
        return [replace(c, amount=a, limit=n) for c, a, n in zip(chosen, amounts, limits)]

    def reserve(self):
        request, claims, worker = new_id(), self.claims(), self.random.choice(self.workers)
        if self.requests and self.random.random() < 0.1:
            request, claims, worker = self.random.choice(self.requests)
        self.ledger.worker = worker
        reply = self.ledger.reserve(request, *claims)
        verdict, denied = self.model.reserve(worker, request, claims, self.ledger.now)
        assert reply[0] == verdict
        self.seen[verdict] += 1
        if verdict == DENIED:
            assert reply[1] == denied
        if verdict == ADMITTED:
            self.requests = [*self.requests[-20:], (request, claims, worker)]

    def settle(self):
        if self.requests:
            request, claims, self.ledger.worker = self.random.choice(self.requests)
            today = {c.name: c for c in self.counters()}
            claims = [replace(c, a=today[c.name].a, b=today[c.name].b) for c in claims]
            amounts = [0 if c.kind == "p" else self.random.randrange(25) for c in claims]
            done = self.ledger.settle(request, claims, amounts)
            assert done == self.model.settle(request, claims, amounts, self.ledger.now)

    def lose_hold(self):
        held = [r for r in self.requests if r[0] in self.model.holds and all(c.kind != "p" for c in r[1])]
        if held:
            request = self.random.choice(held)[0]
            self.ledger.client.delete(f"{PREFIX}hold:{request}")
            del self.model.holds[request]

    def crash(self):
        crashed = self.workers.pop(self.random.randrange(len(self.workers)))
        self.workers.append(max([crashed, *self.workers]) + 1)
        self.ledger.client.delete(f"{PREFIX}lease:{crashed}")
        self.model.leases.discard(crashed)
        self.ledger.worker = self.workers[-1]
        self.requests = [r for r in self.requests if r[2] != crashed]


@pytest.mark.parametrize("seed", range(6))
def test_random_histories_agree_with_a_model(ledger, seed):
    history = History(ledger, seed)
    for _ in range(1_500):
        history.step()
    assert min(history.seen.values()) > 10
