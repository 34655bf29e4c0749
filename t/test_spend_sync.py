"""Rows go to disk as llm_spool's fsync says, and requests wait for it with `always` only."""

import concurrent.futures
import time

import httpx
import pytest

from support.calls import CHAT, chat
from support.gateway import bearer
from support.load import fire
from support.nginx_conf import KEY
from support.slow_disk import rows_on_disk, synced
from support.waiting import wait_until

BODY = chat("One two three", max_tokens=5)


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
