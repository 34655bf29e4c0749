"""Rows go to disk within llm_spool's fsync, and no request waits for the disk."""

import subprocess
import time

import pytest

from support import gateway as gateway_module
from support.calls import CHAT, chat
from support.paths import PRELOAD, TESTS
from support.waiting import wait_until

BODY = chat("One two three", max_tokens=5)


@pytest.fixture
def sync_log(tmp_path, monkeypatch):
    """Gateways get a disk whose every sync takes 0.5 s and is written to this file."""
    shim = tmp_path / "slow_sync.so"
    source = TESTS / "support/slow_sync.c"
    log = tmp_path / "sync.log"
    log.touch()
    options = ["-shared", "-fPIC", "-O1", f'-DSYNC_LOG="{log}"']
    subprocess.run(["cc", *options, source, "-o", shim], check=True)
    monkeypatch.setattr(gateway_module, "PRELOAD", f"{PRELOAD} {shim}".strip())
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
