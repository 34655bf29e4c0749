"""With fsync=always no client has a whole answer before its row is on disk, whatever way it ends."""

import concurrent.futures
import gzip
import json
import os
import random
import re
import signal
import socket
import threading

import pytest

from support.calls import CHAT, chat
from support.hang_up import Http2Client, hang_up
from support.nginx_conf import KEY, provider
from support.raw_provider import http_answer, raw_provider, taken
from support.slow_disk import rows_on_disk
from support.waiting import wait_until

BODY = chat("One two three", max_tokens=5)
STREAM = BODY | {"stream": True}
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"Yes"}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":6,"completion_tokens":1}}\n\n'
DONE = b"data: [DONE]\n\n"


def test_always_ends_a_stream_that_its_provider_leaves_open(gateway, sync_log):
    """The usage chunk, which is hidden, and the end come at once, and nothing after them."""
    answered = threading.Event()
    pieces = [STREAM_HEAD, WORD, taken, USAGE + DONE, lambda _: answered.wait(30)]
    with raw_provider(pieces) as (url, _):
        one = gateway(spool_options="fsync=always", providers=[provider("mock", url)])
        with one.client.stream("POST", CHAT, json=STREAM, timeout=10) as response:
            assert "data: [DONE]" in response.iter_lines()
            assert response.headers["x-llm-request-id"] in rows_on_disk(one, sync_log)
        answered.set()
    assert one.wait_row()["usage_source"] == "reported"


def test_always_sends_what_comes_after_the_end_of_a_stream_once(gateway, sync_log):
    """While the end waits for the disk a comment comes in two pieces, and a late chunk."""
    late = WORD.replace(b"Yes", b"late")
    pieces = [STREAM_HEAD, WORD, taken, DONE, taken, b": aft", taken, b"er\n\n", taken, USAGE, taken, late]
    with raw_provider(pieces) as (url, _):
        one = gateway(spool_options="fsync=always", providers=[provider("mock", url)])
        response = one.client.post(CHAT, json=STREAM)
    assert response.content == WORD + DONE + b": after\n\n" + late


@pytest.mark.parametrize(
    "answer",
    [
        http_answer("200 OK", "Content-Type: text/plain", body=b"x" * 4000),
        http_answer("200 OK", "Content-Type: application/json", body=b"{" + b" " * 2**20),
        http_answer("400 Bad Request", "Content-Type: application/json", body=b" " * 4000 + b"{}"),
        http_answer(
            "200 OK",
            "Content-Type: application/json",
            "Content-Encoding: gzip",
            body=gzip.compress(random.Random(1).randbytes(4000)),
        ),
        http_answer("200 OK", "Content-Type: text/event-stream", body=WORD),
    ],
    ids=["text", "no JSON", "error", "gzip", "stream of a known length"],
)
def test_always_holds_the_end_of_what_it_cannot_read(gateway, sync_log, answer):
    """Whoever was told the length has the whole answer with its last byte."""
    body = BODY | {"stream": True, "stream_options": {"include_usage": True}}
    request = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
    with raw_provider(answer) as (url, _):
        one = gateway(spool_options="fsync=always", providers=[provider("mock", url)])
        with socket.create_connection(("127.0.0.1", one.port), timeout=20) as client:
            client.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(request) + request)
            reader = client.makefile("rb")
            lines = iter(reader.readline, b"\r\n")
            headers = dict(line.lower().split(b": ", 1) for line in lines if b": " in line)
            assert int(headers[b"content-length"]) == length
            assert len(reader.read(length)) == length
            on_disk = rows_on_disk(one, sync_log)
    assert headers[b"x-llm-request-id"].strip().decode() in on_disk


def test_always_holds_no_answer_that_makes_no_row(gateway, mock, sync_log):
    one = gateway(spool_options="fsync=always", workers=1)
    one.client.post(CHAT, json=BODY)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answer = pool.submit(one.client.post, CHAT, json=BODY)
        wait_until(lambda: len(one.spool_rows()) == 2, "an answer waits for the disk")
        assert one.client.get("/v1/models").status_code == 200
        assert not answer.done()
        assert answer.result().status_code == 200


def raw_request(body, version="1.1", path=CHAT):
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/{version}\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(data) + data


def connect(one):
    return socket.create_connection(("127.0.0.1", one.port), timeout=20)


def request_ids(head):
    return {name.decode() for name in re.findall(rb"(?i)x-llm-request-id: (\S+)", head)}


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
def test_client_of_http_1_0(gateway, mock, sync_log, body):
    one = gateway(spool_options="fsync=always")
    with connect(one) as client:
        client.sendall(raw_request(body, "1.0"))
        answer = client.makefile("rb").read()
        assert request_ids(answer) <= rows_on_disk(one, sync_log)
    assert b"finish_reason" in answer


def test_pipelined_requests(gateway, mock, sync_log):
    one = gateway(spool_options="fsync=always")
    with connect(one) as client:
        client.sendall(b"".join(map(raw_request, [BODY, STREAM, BODY])) + raw_request(STREAM, "1.0"))
        answers = client.makefile("rb").read()
        on_disk = rows_on_disk(one, sync_log)
    assert answers.count(b"HTTP/1.1 200") == 4
    assert answers.count(b"data: [DONE]") == 2
    assert request_ids(answers) == on_disk


@pytest.mark.parametrize(
    "server",
    ["gzip on; gzip_types *; gzip_min_length 1;", "limit_rate 2k;", "postpone_output 0;"],
    ids=["gzip", "limit_rate", "postpone_output"],
)
def test_filters_behind_ours(gateway, mock, sync_log, server):
    one = gateway(spool_options="fsync=always", server=server)
    for body in (BODY, STREAM, BODY):
        answer = one.client.post(CHAT, json=body, headers={"Accept-Encoding": "gzip"})
        assert "finish_reason" in answer.text
        assert answer.headers["x-llm-request-id"] in rows_on_disk(one, sync_log)


def test_large_answer_over_a_small_window(gateway, mock, sync_log):
    one = gateway(spool_options="fsync=always", proxy={"proxy_buffering": "on"})
    body = {"model": "gpt-4o-mini", "input": ["some words"] * 200, "dimensions": 1536}
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", one.port))
        client.sendall(raw_request(body, "1.0", "/v1/embeddings"))
        head, _, rest = client.makefile("rb", buffering=4096).read().partition(b"\r\n\r\n")
        assert request_ids(head) <= rows_on_disk(one, sync_log)
    assert len(json.loads(rest)["data"]) == 200


def test_large_answer_of_unknown_length(gateway, sync_log):
    """It is larger than what is kept for its cost, and its length is not told to the client either."""
    text = json.dumps({"choices": [], "pad": "x" * 2**21}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    with raw_provider(head + text) as (url, _):
        one = gateway(spool_options="fsync=always", providers=[provider("mock", url)])
        answer = one.client.post(CHAT, json=BODY)
        assert answer.headers["x-llm-request-id"] in rows_on_disk(one, sync_log)
    assert answer.content == text
    assert "content-length" not in answer.headers


def test_fallback_and_failure_of_all(gateway, mock, sync_log):
    with raw_provider(http_answer("500 Oh", "Content-Type: text/plain")) as (url, _):
        providers = [provider("bad", url), provider("mock", mock.url)]
        one = gateway(
            spool_options="fsync=always",
            providers=providers,
            routes=["gpt-4o-mini bad", "gpt-4o-mini mock backup", "output-only bad"],
        )
        for body, status in ((BODY, 200), (STREAM, 200), (BODY | {"model": "output-only"}, 500)):
            answer = one.client.post(CHAT, json=body)
            assert answer.status_code == status
            assert answer.headers["x-llm-request-id"] in rows_on_disk(one, sync_log)


@pytest.mark.parametrize("reset", [True, False])
def test_clients_that_leave_while_the_end_waits(gateway, mock, sync_log, reset):
    """Their answers are on record as whole, and are not drained."""
    one = gateway(spool_options="fsync=always", server="llm_client_abort drain;")
    for count, body in enumerate((BODY, STREAM, BODY, STREAM), 1):
        client = connect(one)
        client.sendall(raw_request(body))
        wait_until(lambda: len(one.spool_rows()) == count, "its end waits")
        hang_up(client, reset)
    assert one.client.post(CHAT, json=BODY).status_code == 200
    assert {(row["status"], row["aborted"]) for row in one.wait_rows(5)} == {(200, False)}


def test_http2_streams_that_are_reset_while_the_end_waits(gateway, mock, sync_log):
    one = gateway(spool_options="fsync=always")
    client = Http2Client(one)
    for count in range(1, 4):
        stream = client.post(STREAM)
        wait_until(lambda: len(one.spool_rows()) == count, "its end waits")
        client.reset(stream)
    assert client.read(client.post(STREAM)).endswith(DONE)
    client.close()


def test_nginx_that_ends_while_the_end_waits(gateway, mock, sync_log):
    one = gateway(spool_options="fsync=always")
    with concurrent.futures.ThreadPoolExecutor() as pool, connect(one) as client:
        client.sendall(raw_request(STREAM))
        answer = pool.submit(client.makefile("rb").read)
        wait_until(one.spool_rows, "its end waits")
        os.kill(one.master, signal.SIGQUIT)
        assert DONE in answer.result()
    one.wait()
    assert request_ids(answer.result()) == rows_on_disk(one, sync_log)
