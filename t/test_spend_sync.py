"""Rows go to disk as llm_spool's fsync says, and requests wait for it with `always` only."""

import concurrent.futures
import gzip
import json
import random
import socket
import threading
import time

import httpx
import pytest

from support.calls import CHAT, chat
from support.gateway import bearer, parse_row
from support.load import fire
from support.nginx_conf import KEY, provider
from support.preload import preload
from support.raw_provider import http_answer, raw_provider, taken
from support.waiting import wait_until

BODY = chat("One two three", max_tokens=5)


@pytest.fixture
def sync_log(tmp_path, monkeypatch):
    """Gateways get a disk whose every sync takes 0.5 s and is written to this file."""
    log = tmp_path / "sync.log"
    log.touch()
    preload(monkeypatch, tmp_path, "slow_sync.c", SYNC_LOG=log)
    return log


def synced(log):
    """The largest synced size of each file, by inode."""
    sizes = {}
    for line in log.read_text().splitlines():
        inode, size = map(int, line.split())
        sizes[inode] = max(size, sizes.get(inode, 0))
    return sizes


def all_synced(one, log):
    files = [path.stat() for path in (one.prefix / "spool").glob("*.jsonl")]
    sizes = synced(log)
    return files and all(sizes.get(file.st_ino) == file.st_size for file in files)


def test_rows_are_synced_and_requests_do_not_wait(gateway, mock, sync_log):
    one = gateway(spool_options="fsync=50ms")
    one.client.post(CHAT, json=BODY)
    one.wait_row()
    slowest = 0
    for _ in range(50):
        start = time.monotonic()
        assert one.client.post(CHAT, json=BODY).status_code == 200
        slowest = max(slowest, time.monotonic() - start)
    assert slowest < 0.4
    wait_until(lambda: all_synced(one, sync_log), "every row is on disk")


def test_the_last_rows_are_synced_when_nginx_ends(gateway, mock, sync_log):
    one = gateway(spool_options="fsync=1h")
    for _ in range(3):
        one.client.post(CHAT, json=BODY)
    one.wait_rows(3)
    assert not all_synced(one, sync_log)
    one.stop()
    assert all_synced(one, sync_log)


def test_off_leaves_it_to_the_kernel(gateway, mock, sync_log):
    one = gateway(spool_options="fsync=off")
    one.client.post(CHAT, json=BODY)
    one.wait_row()
    one.stop()
    assert synced(sync_log) == {}


def rows_on_disk(one, log):
    """The request ids of the rows whose last byte is on disk."""
    ids = set()
    sizes = synced(log)
    for path in (one.prefix / "spool").glob("*.jsonl"):
        on_disk = path.read_bytes()[: sizes.get(path.stat().st_ino, 0)]
        ids |= {parse_row(line)["request_id"] for line in on_disk.split(b"\n")[:-1]}
    return ids


@pytest.mark.parametrize("body", [BODY, BODY | {"stream": True}], ids=["whole", "stream"])
def test_always_ends_no_answer_before_its_row_is_on_disk(gateway, mock, sync_log, body):
    one = gateway(spool_options="fsync=always")
    for _ in range(3):
        answer = one.client.post(CHAT, json=body)
        assert answer.status_code == 200
        assert answer.headers["x-llm-request-id"] in rows_on_disk(one, sync_log)
        assert "finish_reason" in answer.text


def test_always_holds_the_end_of_a_large_answer_of_known_length(gateway, mock, sync_log):
    one = gateway(spool_options="fsync=always")
    texts = ["some words"] * 200
    body = {"model": "gpt-4o-mini", "input": texts, "dimensions": 1536}
    answer = one.client.post("/v1/embeddings", json=body)
    assert answer.status_code == 200
    assert len(answer.content) == int(answer.headers["content-length"]) > 1024 * 1024
    assert answer.headers["x-llm-request-id"] in rows_on_disk(one, sync_log)


def test_always_waits_for_refusals_and_http2_too(gateway, mock, sync_log):
    one = gateway(spool_options="fsync=always", limits=["key=* rpm=1"])
    with httpx.Client(http1=False, http2=True, base_url=f"http://127.0.0.1:{one.port_h2}") as client:
        answers = [client.post(CHAT, json=BODY, headers=bearer(KEY)) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    ids = {answer.headers["x-llm-request-id"] for answer in answers}
    assert ids <= rows_on_disk(one, sync_log)


def test_always_takes_rows_to_disk_together(gateway, mock, sync_log):
    one = gateway(spool_options="fsync=always", workers=1)
    start = time.monotonic()
    assert {answer.status_code for answer in fire(one, [BODY] * 100)} == {200}
    assert time.monotonic() - start < 10  # one by one: 50 s
    assert len(rows_on_disk(one, sync_log)) == 100


def test_always_survives_clients_that_leave_while_it_waits(gateway, mock, sync_log):
    one = gateway(spool_options="fsync=always", workers=1)
    for _ in range(20):
        with pytest.raises(httpx.ReadTimeout):
            one.client.post(CHAT, json=BODY, timeout=0.05)
    one.wait_rows(20)
    answer = one.client.post(CHAT, json=BODY)
    assert answer.headers["x-llm-request-id"] in rows_on_disk(one, sync_log)


def test_always_lets_a_worker_end_when_its_answers_have(gateway, mock, sync_log):
    one = gateway(spool_options="fsync=always")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answer = pool.submit(one.client.post, CHAT, json=BODY)
        wait_until(lambda: one.spool_rows(), "the answer waits for the disk")
        one.reload()
        assert answer.result().json()["choices"]
    assert answer.result().headers["x-llm-request-id"] in rows_on_disk(one, sync_log)


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
