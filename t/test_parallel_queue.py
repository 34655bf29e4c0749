"""Requests that wait for a parallel slot: llm_limit … parallel=… queue=… wait=…"""

import collections
import contextlib
import json
import threading
import time

import httpx
import pytest

from support.calls import CHAT, assert_openai_error, chat
from support.gateway import bearer
from support.load import fire
from support.nginx_conf import KEY, KEY_RECORD
from support.waiting import wait_until

BODY = chat(model="output-only", max_tokens=10)


def test_all_are_served_in_turn(gateway, mock, ledger):
    mock.behave(tokens=10, delay_ms=100)
    one = gateway(limits=["key=* parallel=2 queue=8 wait=10s"], **ledger)
    responses = fire(one, [BODY] * 10)
    assert [r.status_code for r in responses] == [200] * 10
    times = sorted(request["received_at"] for request in mock.requests())
    assert all(third - first >= 0.09 for first, third in zip(times, times[2:]))  # two at a time
    assert {row["status"] for row in one.wait_rows(10)} == {200}


def test_the_queue_is_bounded(gateway, mock, ledger):
    mock.behave(tokens=10, delay_ms=1000)
    one = gateway(limits=["key=* parallel=2 queue=3 wait=10s"], **ledger)
    responses = fire(one, [BODY] * 10)
    assert collections.Counter(r.status_code for r in responses) == {200: 5, 429: 5}
    for refused in (r for r in responses if r.status_code == 429):
        assert_openai_error(refused, 429, "rate_limit_exceeded")


def test_the_wait_is_bounded(gateway, mock, ledger):
    mock.behave(tokens=10, delay_ms=3000)
    one = gateway(limits=["key=* parallel=1 queue=3 wait=300ms"], **ledger)
    first = threading.Thread(target=lambda: one.client.post(CHAT, json=BODY))
    first.start()
    wait_until(lambda: mock.count() == 1, "the slot is taken")
    start = time.monotonic()
    responses = fire(one, [BODY] * 3)
    took = time.monotonic() - start
    assert [r.status_code for r in responses] == [429] * 3
    assert 0.3 <= took < 2
    first.join()
    assert mock.count() == 1


def test_slots_of_other_workers_are_seen(gateway, mock, ledger):
    mock.behave(tokens=10, delay_ms=100)
    one = gateway(
        workers=2, reuseport=True, limits=["key=* parallel=2 queue=20 wait=10s"], **ledger
    )
    responses = fire(one, [BODY] * 20)
    assert [r.status_code for r in responses] == [200] * 20
    assert len({line[0] for line in one.access_log()}) == 2


def test_who_leaves_takes_its_place_along(gateway, mock, ledger):
    mock.behave(tokens=20, chunk_delay_ms=50)
    one = gateway(limits=["key=* parallel=1 queue=1 wait=20s"], **ledger)
    with one.client.stream("POST", CHAT, json=BODY | {"stream": True}) as running:
        assert running.status_code == 200
        with contextlib.suppress(httpx.ReadTimeout):
            httpx.post(one.url + CHAT, json=BODY, headers=bearer(KEY), timeout=0.2)
            raise AssertionError("it did not wait")
        second = []
        waits = threading.Thread(target=lambda: second.append(one.client.post(CHAT, json=BODY)))
        waits.start()
        running.read()
    waits.join()
    assert [r.status_code for r in second] == [200]
    wait_until(lambda: len(one.access_log()) == 3, "the one that left is logged")
    assert mock.count() == 2


def test_who_waits_longer_delays_nobody(gateway, mock, ledger):
    """One that has waited elsewhere comes first, and may wait on after those behind it have to give up."""
    mock.behave(tokens=20, chunk_delay_ms=20)
    one = gateway(
        keys=[KEY_RECORD, {"key": "sk-other", "alias": "other"}],
        limits=["key=tester parallel=1 queue=5 wait=20s", "by=$http_x_room parallel=1 queue=5 wait=300ms"],
        **ledger,
    )
    answers = []

    def ask(key, room, after, **behaviour):
        def run():
            headers = bearer(key) | {"x-mock": json.dumps(behaviour)} | ({"x-room": room} if room else {})
            response = httpx.post(one.url + CHAT, json=BODY, headers=headers, timeout=20)
            answers.append((key, response.status_code))

        thread = threading.Thread(target=run)
        thread.start()
        wait_until(after, "it has come as far as it can")
        return thread

    room = ask("sk-other", "1", lambda: mock.count() == 1, delay_ms=4000)
    tester = ask(KEY, "", lambda: mock.count() == 2, delay_ms=700)
    waits = ask(KEY, "1", lambda: (KEY, 200) in answers)  # for its key, and then for the room
    start = time.monotonic()
    late = httpx.post(one.url + CHAT, json=BODY, headers=bearer("sk-other") | {"x-room": "1"}, timeout=20)
    assert late.status_code == 429
    assert 0.3 <= time.monotonic() - start < 2
    for thread in (room, tester, waits):
        thread.join()
    assert sorted(status for _, status in answers) == [200] * 3


def test_a_reload_keeps_who_waits(gateway, mock, ledger):
    mock.behave(tokens=10, chunk_delay_ms=100)
    one = gateway(limits=["key=* parallel=1 queue=2 wait=20s"], **ledger)
    with one.client.stream("POST", CHAT, json=BODY | {"stream": True}) as running:
        answers = []
        with httpx.Client(base_url=one.url, headers=bearer(KEY), timeout=20) as other:
            waits = threading.Thread(target=lambda: answers.append(other.post(CHAT, json=BODY)))
            waits.start()
            # The only worker answers this after it has seen that.
            assert httpx.get(one.url + "/v1/models", headers=bearer(KEY)).status_code == 200
            one.reload()
            running.read()
            waits.join()
    assert [r.status_code for r in answers] == [200]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("key=* parallel=1 queue=3", '"queue=" and "wait=" go together'),
        ("key=* parallel=1 wait=3s", '"queue=" and "wait=" go together'),
        ("key=* rpm=1 queue=3 wait=1s", '"queue=" wants "parallel="'),
        ("key=* parallel=1 queue=0 wait=1s", "queue"),
        ("key=* parallel=1 queue=3 wait=0", 'invalid value "0" of "wait"'),
        ("key=* parallel=1 queue=3 wait=11m", '"wait=" may be 10m at most'),
    ],
)
def test_wrong_arguments(gateway, arguments, message):
    one = gateway(start=False)
    one.configure(limits=[arguments])
    done = one.run_test()
    assert done.returncode != 0
    assert message in done.stderr
