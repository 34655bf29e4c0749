"""Clients that leave before the end: each makes one row, and is charged what llm_client_abort says."""

import concurrent.futures
import json
import random
import socket

import httpx
import pytest

from support.calls import CHAT, chat, stream_events, text_of
from support.hang_up import Http2Client, hang_up
from support.load import fire
from support.nginx_conf import KEY
from support.tokens import text_tokens
from support.waiting import wait_until

CLIENTS = 100
WORDS = [f"word{i % 7}" for i in range(30)]
REPLY = " ".join(WORDS)
BODY = chat("Say it.", stream=True, max_tokens=200)
DRAIN = "llm_client_abort drain;"


def connect(one):
    client = socket.create_connection(("127.0.0.1", one.port), timeout=20)
    body = json.dumps(BODY).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    client.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return client


def leave_after(one, words, reset):
    """Reads so many words of the stream, or not even its header, and hangs up; how many came."""
    client = connect(one)
    got = b""
    while words and got.count(b'"content":"word') + got.count(b'"content":" word') < words:
        data = client.recv(65536)
        assert data, got
        got += data
    hang_up(client, reset)
    return got.count(b'"content":"word') + got.count(b'"content":" word')


def leave_at_random_points(one):
    chance = random.Random(1)
    points = [(chance.randrange(len(WORDS) - 5), chance.random() < 0.5) for _ in range(CLIENTS)]
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(lambda point: leave_after(one, *point), points))


def assert_no_slot_is_taken(one, mock):
    mock.behave(delay_ms=300)
    responses = fire(one, [BODY | {"stream": False}] * CLIENTS)
    assert {response.status_code for response in responses} == {200}


def counted(words):
    return text_tokens(" ".join(WORDS[:words]))


def test_drain_charges_what_the_provider_produced(gateway, mock):
    mock.behave(reply=REPLY, chunk_delay_ms=20)
    one = gateway(server=DRAIN, limits=[f"key=* parallel={CLIENTS}"])
    leave_at_random_points(one)
    rows = one.wait_rows(CLIENTS)
    assert {row["completion_tokens"] for row in rows} == {len(WORDS)}
    assert {(row["usage_source"], row["aborted"], row["error_kind"]) for row in rows} == {
        ("reported", True, "client_closed")
    }
    assert {row["status"] for row in rows} == {200, 499}
    assert not any(request["aborted"] for request in mock.requests())
    assert_no_slot_is_taken(one, mock)


def test_cut_charges_what_was_passed_on(gateway, mock):
    mock.behave(reply=REPLY, chunk_delay_ms=20)
    one = gateway(limits=[f"key=* parallel={CLIENTS}"])
    seen = leave_at_random_points(one)
    rows = one.wait_rows(CLIENTS)
    assert {(row["aborted"], row["error_kind"]) for row in rows} == {(True, "client_closed")}
    # Some were not sent to the provider yet, some waited for its first byte.
    assert {row["usage_source"] for row in rows} <= {"none", "held", "counted"}
    charged = sorted(row["completion_tokens"] for row in rows if row["usage_source"] == "counted")
    possible = {counted(words): words for words in range(len(WORDS) + 1)}
    passed = sorted(possible[tokens] for tokens in charged)
    least = sorted(seen)[-len(passed) :]
    # What was on its way when a client left counts too.
    assert all(want <= words <= want + 4 for want, words in zip(least, passed, strict=True))
    wait_until(lambda: all(r["aborted"] for r in mock.requests()), "no provider goes on")
    assert_no_slot_is_taken(one, mock)


def test_whole_answer_of_a_client_that_left(gateway, mock):
    """Cut, the provider may have produced it all; drained, it is known what it did."""
    mock.behave(reply=REPLY, delay_ms=400)
    for server, source in (("", "held"), (DRAIN, "reported")):
        one = gateway(server=server)
        with pytest.raises(httpx.ReadTimeout):
            one.client.post(CHAT, json=BODY | {"stream": False}, timeout=0.2)
        row = one.wait_row()
        assert (row["status"], row["usage_source"], row["aborted"]) == (499, source, True)
        assert one.client.post(CHAT, json=BODY | {"stream": False}).status_code == 200


def test_refusal_of_a_provider_whose_client_left(gateway, mock):
    """It costs nothing, and no other provider is asked."""
    mock.behave(status=429, delay_ms=400)
    one = gateway(server=DRAIN, routes=["gpt-4o-mini mock", "gpt-4o-mini mock model=other backup"])
    with pytest.raises(httpx.ReadTimeout):
        one.client.post(CHAT, json=BODY, timeout=0.2)
    row = one.wait_row()
    assert (row["status"], row["usage_source"], row["cost_nano_usd"]) == (499, "none", 0)
    assert mock.count() == 1


def test_drain_over_http2(gateway, mock):
    mock.behave(reply=REPLY, chunk_delay_ms=20)
    one = gateway(server=DRAIN)
    client = Http2Client(one)
    for _ in range(3):  # the connection goes on
        stream = client.post(BODY)
        client.read(stream, b"word1")
        client.reset(stream)
    assert client.read(client.post(BODY)).endswith(b"[DONE]\n\n")
    client.read(client.post(BODY), b"word2")
    client.close()
    rows = one.wait_rows(5)
    assert {row["completion_tokens"] for row in rows} == {len(WORDS)}
    assert sorted(row["aborted"] for row in rows) == [False, True, True, True, True]


@pytest.mark.parametrize("bound", ["timeout=300ms", "max_size=2k"])
def test_drain_has_a_bound(gateway, mock, bound):
    mock.behave(tokens=1000, chunk_delay_ms=20)
    one = gateway(server=f"llm_client_abort drain {bound};")
    leave_after(one, 0, reset=False)
    leave_after(one, 1, reset=True)
    rows = one.wait_rows(2)
    assert {row["error_kind"] for row in rows} == {"client_closed"}
    assert all(0 < row["completion_tokens"] < 200 for row in rows)
    assert {row["usage_source"] for row in rows} == {"counted"}
    wait_until(lambda: all(r["aborted"] for r in mock.requests()), "no provider goes on")


def test_drain_of_what_a_client_did_not_take(gateway, mock):
    """The provider's connection is blocked by a client that reads nothing, and then leaves."""
    word = "x" * 60_000
    mock.behave(deltas=[word] * 200)
    one = gateway(server="llm_client_abort drain max_size=64m;")
    client = connect(one)
    client.recv(1000)
    wait_until(lambda: mock.requests() and len(mock.requests()[0]["sent"]) > 20, "it fills up")
    hang_up(client, reset=False)
    row = one.wait_row()
    assert (row["usage_source"], row["completion_tokens"], row["aborted"]) == ("reported", 200, True)


def test_drain_is_not_for_whom_stays(gateway, mock):
    mock.behave(reply=REPLY)
    one = gateway(server=DRAIN)
    with one.client.stream("POST", CHAT, json=BODY) as response:
        assert text_of(stream_events(response)) == REPLY
    assert one.client.post(CHAT, json=BODY | {"stream": False}).status_code == 200
    assert {(row["aborted"], row["status"]) for row in one.wait_rows(2)} == {(False, 200)}
