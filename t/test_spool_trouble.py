"""A spool that cannot take rows: requests are refused before a row is at risk."""

import concurrent.futures
import os
import shutil
import socket

import pytest

from support.calls import CHAT, assert_openai_error, chat
from support.nginx_conf import KEY
from support.preload import preload
from support.waiting import wait_until


def test_unwritable_spool_admits_nobody(gateway, mock):
    one = gateway()
    assert one.client.post(CHAT, json=chat()).status_code == 200
    shutil.rmtree(one.prefix / "spool")
    (one.prefix / "spool").write_text("not a directory")
    wait_until(lambda: one.client.post(CHAT, json=chat()).status_code == 503, "requests are refused")
    before = mock.count()
    assert_openai_error(one.client.post(CHAT, json=chat()), 503)
    assert mock.count() == before
    assert "llm spool: " in one.error_log

    (one.prefix / "spool").unlink()
    (one.prefix / "spool").mkdir()
    wait_until(lambda: one.client.post(CHAT, json=chat()).status_code == 200, "requests are served")


def test_full_spool_keeps_room_for_requests_under_way(gateway, mock):
    one = gateway(spool_options="max_size=16m")
    mock.behave(delay_ms=1500)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        under_way = [pool.submit(one.client.post, CHAT, json=chat()) for _ in range(20)]
        wait_until(lambda: mock.count() == 20, "all of them are at the provider")
        filler = one.prefix / "spool/filler"
        filler.write_bytes(bytes(15 * 1024 * 1024 + 512 * 1024))
        wait_until(
            lambda: one.client.get("/v1/models").status_code == 200
            and one.client.post(CHAT, json=chat(), timeout=10).status_code == 503,
            "the spool is seen to be full",
        )
        for _ in range(1000):
            assert one.client.post(CHAT, json=chat()).status_code == 503
        assert [answer.result().status_code for answer in under_way] == [200] * 20
    served = [row for row in one.spool_rows() if row["status"] == 200]
    assert len(served) >= 20
    assert not [row for row in one.spool_rows() if row["status"] == 503]
    assert "nearly full" in one.error_log


def test_full_spool_that_drops_the_oldest_admits_everybody(gateway, mock):
    one = gateway(spool_options="max_size=16m full=drop_oldest")
    oldest = one.prefix / "spool/1700000000000-1-1.jsonl"
    oldest.write_bytes(bytes(8 * 1024 * 1024))
    newer = one.prefix / "spool/1700000000000-1-2.jsonl"
    newer.write_bytes(bytes(8 * 1024 * 1024))
    os.utime(oldest, (1_700_000_000, 1_700_000_000))
    assert one.client.post(CHAT, json=chat()).status_code == 200
    assert not oldest.exists()
    assert newer.exists()
    wait_until(lambda: f'dropped "{oldest.name}"' in one.error_log, "the log tells")


def test_warning_of_a_spool_that_fills_up(gateway, mock):
    one = gateway(spool_options="max_size=16m")
    (one.prefix / "spool/filler").write_bytes(bytes(9 * 1024 * 1024))
    assert one.client.post(CHAT, json=chat()).status_code == 200
    wait_until(lambda: "% of max_size or the disk" in one.error_log, "the log warns")
    assert one.error_log.count("% of max_size or the disk") == 1


def test_row_and_slot_do_not_wait_for_the_client_to_hang_up(gateway, mock):
    one = gateway(limits=["key=* parallel=1"])
    body = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", one.port), timeout=10) as connection:
        connection.sendall(head.encode() + body)
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 200")
        assert len(one.spool_rows()) == 1
        assert one.client.post(CHAT, json=chat()).status_code == 200


@pytest.mark.parametrize("size", ["1m", "15680k", "15681k", "30784k"])
def test_zone_of_any_size(gateway, mock, size):
    one = gateway(zone=size, budgets=["key=* 1usd/1d"])
    assert one.client.post(CHAT, json=chat()).status_code == 200
    one.reload()
    assert one.client.post(CHAT, json=chat()).status_code == 200


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """The spool's disk fails to write, or to sync, while a file of that name is in this directory."""
    flags = {"NO_WRITE": tmp_path / "write", "NO_SYNC": tmp_path / "sync"}
    preload(monkeypatch, tmp_path, "failing_disk.c", **flags)
    return tmp_path


@pytest.mark.parametrize("policy", ["full=reject", "full=drop_oldest"])
def test_disk_that_fails_admits_nobody(gateway, mock, disk, policy):
    """The rows of requests under way are lost, and told; no more are put at risk."""
    one = gateway(spool_options=policy)
    assert one.client.post(CHAT, json=chat()).status_code == 200
    one.wait_row()
    (disk / "write").touch()
    one.client.post(CHAT, json=chat())
    wait_until(lambda: "cannot append to" in one.error_log, "the log tells")
    before = mock.count()
    for _ in range(10):
        assert_openai_error(one.client.post(CHAT, json=chat()), 503)
    assert mock.count() == before
    (disk / "write").unlink()
    assert one.client.post(CHAT, json=chat()).status_code == 200
    one.wait_rows(2)


@pytest.mark.parametrize("fsync", ["50ms", "always"])
def test_disk_that_cannot_sync_is_told_and_holds_nobody_up(gateway, mock, disk, fsync):
    one = gateway(spool_options=f"fsync={fsync}")
    (disk / "sync").touch()
    assert one.client.post(CHAT, json=chat(), timeout=5).status_code == 200
    one.wait_row()
    wait_until(lambda: "llm spool: cannot sync" in one.error_log, "the log tells")
