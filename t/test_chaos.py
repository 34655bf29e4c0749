"""No row lost and none doubled: killed processes, a database that comes and goes, a full disk."""

import asyncio
import contextlib
import json
import os
import random
import re
import statistics
import subprocess
import time

import psycopg
import pytest

from support.calls import CHAT, chat
from support.nginx_conf import KEY, provider
from support.paths import program
from support.waiting import accepts_connections, free_port, wait_until

REQUESTS = 20_000
CONNECTIONS = 24
# Costs as much as is held for it: 5 tokens at 1000 nano-USD, see fixtures/prices.json.
BODY = chat("One two three", model="output-only", max_tokens=5)
NANO_USD = 5000
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "output-only",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Yes."}}
    ],
    "usage": {"prompt_tokens": 6, "completion_tokens": 5, "total_tokens": 11},
}
PROVIDER = """
daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off; client_body_temp_path {dir}/body; keepalive_requests 1000000;
    server {{ listen 127.0.0.1:{port}; default_type application/json;
              location / {{ return 200 '{answer}'; }} }}
}}
"""


@pytest.fixture
def quick_provider(tmp_path):
    """A provider that always gives the same answer, as fast as nginx does."""
    directory = tmp_path / "provider"
    directory.mkdir()
    port = free_port()
    conf = directory / "nginx.conf"
    conf.write_text(PROVIDER.format(dir=directory, port=port, answer=json.dumps(ANSWER)))
    process = subprocess.Popen([program("nginx"), "-p", directory, "-c", conf, "-e", "stderr"])
    wait_until(lambda: accepts_connections(port), "the provider answers")
    yield provider("mock", f"http://127.0.0.1:{port}")
    process.terminate()
    process.wait(timeout=10)


class Load:
    """Requests over some connections, until as many as wanted were answered with 200 and whole."""

    def __init__(self, port, wanted):
        self._port = port
        self.wanted = wanted
        self.ids = []
        self.refused = 0
        self.cut = 0  # requests that may have arrived, and got no answer
        self.seconds = []
        body = json.dumps(BODY).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        self._request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body

    def done(self):
        return len(self.ids) >= self.wanted

    async def run(self):
        await asyncio.gather(*(self._send_all() for _ in range(CONNECTIONS)))

    async def _send_all(self):
        while not self.done():
            with contextlib.suppress(OSError):  # nobody listens
                await self._use_connection(*await asyncio.open_connection("127.0.0.1", self._port))

    async def _use_connection(self, reader, writer):
        try:
            while not self.done():
                start = time.monotonic()
                writer.write(self._request)
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
                await reader.readexactly(length)
                self._note(head, time.monotonic() - start)
                if b"connection: close" in head.lower():
                    return
        except (OSError, asyncio.IncompleteReadError):  # killed, or closed as it was idle
            self.cut += 1
        finally:
            writer.close()

    def _note(self, head, seconds):
        if head.startswith(b"HTTP/1.1 200"):
            self.ids.append(re.search(rb"(?i)x-llm-request-id: (\S+)", head)[1].decode())
            self.seconds.append(seconds)
        else:
            self.refused += 1


def crash(one):
    """The master and all workers are killed at once; nginx is started again."""
    for pid in (one.master, *one.all_workers()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
    one.wait()
    one.start()


def restart_postgres(postgres):
    postgres.stop()
    postgres.start()


def hang_up(postgres):
    with psycopg.connect(postgres.conninfo) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'nginx-llm'"
        )


def assert_each_has_one_row(postgres, answered, cut=0):
    """Those that were answered have a row; that of a request that was cut off may be there too."""
    wanted = set(answered)
    assert len(wanted) == len(answered)

    def stored():
        return [row["request_id"] for row in postgres.rows("request_id::text")]

    wait_until(lambda: wanted <= set(stored()), "every row is in Postgres", timeout=60)
    rows = postgres.rows("request_id::text, cost_nano_usd")
    assert len(rows) == len({row["request_id"] for row in rows}) <= len(wanted) + cut
    assert {row["cost_nano_usd"] for row in rows if row["request_id"] in wanted} == {NANO_USD}


def totals(postgres):
    """Requests and nano-USD of all rows; the daily sums have to say the same."""
    with psycopg.connect(postgres.conninfo) as connection:
        rows = "SELECT count(*), sum(cost_nano_usd)::bigint FROM llm_spend"
        sums = "SELECT sum(requests), sum(cost_nano_usd)::bigint FROM llm_spend_daily"
        found = connection.execute(rows).fetchone()
        assert connection.execute(sums).fetchone() == found
    return found


def run_chaos(load, blows, requests):
    """Sends at least so many requests while the blows fall, evenly spread over them."""

    async def strike():
        for i, blow in enumerate(blows):
            while len(load.ids) < (i + 1) * requests // (len(blows) + 1):
                await asyncio.sleep(0.01)
            await asyncio.to_thread(blow)
        load.wanted = requests

    async def run():
        await asyncio.gather(load.run(), strike())

    asyncio.run(run())


def test_chaos(gateway, postgres, quick_provider):
    one = gateway(
        workers=4,
        reuseport=True,
        providers=[quick_provider],
        postgres=postgres.conninfo,
        spool_options="fsync=100ms",
    )
    one.expect_alarm("exited on signal 9")
    load = Load(one.port, 10**9)  # until the last blow
    chance = random.Random(1)
    blows = [
        *[lambda: one.kill_worker(chance.choice(one.workers()))] * 6,
        *[one.reload] * 3,
        *[lambda: crash(one)] * 2,
        *[lambda: restart_postgres(postgres)] * 3,
        *[lambda: hang_up(postgres)] * 4,
    ]
    chance.shuffle(blows)
    run_chaos(load, blows, REQUESTS)
    assert_each_has_one_row(postgres, load.ids, load.cut)
    one.stop()
    assert one.spool_rows() == []
    totals(postgres)


def settled(one, most):
    """What the ledger counts, in nano-USD: by how many requests more a budget of `most` admits."""
    one.reload(budgets=[f"global {most / 1e9:.9f}usd/30d"])
    admitted = 0
    while one.client.post(CHAT, json=BODY).status_code == 200:
        admitted += 1
    return most - admitted * NANO_USD


@pytest.mark.parametrize("kills", [0, 6])
def test_ledger_and_rows_agree(gateway, postgres, quick_provider, kills):
    """What a killed worker held and did not record is charged as held."""
    one = gateway(
        workers=4,
        reuseport=True,
        providers=[quick_provider],
        postgres=postgres.conninfo,
        budgets=["global 1usd/30d"],
    )
    load = Load(one.port, 10**9)
    chance = random.Random(2)
    blows = [
        *[lambda: one.kill_worker(chance.choice(one.workers()))] * kills,
        *[one.reload] * 3,
        *[lambda: restart_postgres(postgres)] * 2,
        *[lambda: hang_up(postgres)] * 3,
    ]
    chance.shuffle(blows)
    run_chaos(load, blows, 5000)
    assert_each_has_one_row(postgres, load.ids, load.cut)
    _, recorded = totals(postgres)
    charged = settled(one, recorded + (load.cut + 10) * NANO_USD)
    if kills == 0:
        assert charged == recorded
    else:
        assert recorded <= charged <= (len(load.ids) + load.cut) * NANO_USD


def p99(load):
    return statistics.quantiles(load.seconds, n=100)[98]


def test_nobody_waits_for_a_postgres_that_is_away(gateway, postgres, quick_provider):
    one = gateway(workers=2, reuseport=True, providers=[quick_provider], postgres=postgres.conninfo)
    ids = []
    there, away = [], []
    for _ in range(3):
        for times, then in ((there, postgres.stop), (away, postgres.start)):
            load = Load(one.port, 500)
            asyncio.run(load.run())
            ids += load.ids
            times.append(p99(load))
            then()
    assert min(away) < 1.5 * min(there) + 0.005
    assert_each_has_one_row(postgres, ids)
    assert totals(postgres) == (len(ids), len(ids) * NANO_USD)


@pytest.fixture
def small_disk(tmp_path):
    """The spool directory of the first gateway, on a disk of 2 MiB."""
    directory = tmp_path / "gateway0/spool"
    stage = tmp_path / "disk"
    stage.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", stage]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("cannot mount a tmpfs")
    yield directory, stage
    subprocess.run(["umount", stage], check=True)


def test_full_disk(small_disk, gateway, postgres, quick_provider):
    directory, stage = small_disk
    one = gateway(start=False, workers=2, reuseport=True, providers=[quick_provider])
    directory.symlink_to(stage)
    one.start()
    served = Load(one.port, 10**9)
    served.done = lambda: served.refused > 50
    asyncio.run(served.run())
    assert "nearly full (max_size or the disk)" in one.error_log
    wait_until(lambda: "% of max_size or the disk" in one.error_log, "the log warns")
    rows = one.spool_rows()
    assert {row["request_id"] for row in rows if row["status"] == 200} == set(served.ids)
    assert len(served.ids) > 500

    one.settings.postgres = postgres.conninfo
    one.reload()
    del served.done
    served.wanted = len(served.ids) + 1
    asyncio.run(served.run())  # space returns
    assert_each_has_one_row(postgres, served.ids, served.cut)


def test_disk_that_others_fill(small_disk, gateway, quick_provider):
    """Not a byte is left when rows come: they are lost, but wholly, and the next ones are not."""
    directory, stage = small_disk
    one = gateway(start=False, providers=[quick_provider])
    directory.symlink_to(stage)
    one.start()
    assert one.client.post(CHAT, json=BODY).status_code == 200
    one.wait_row()
    with contextlib.suppress(OSError), open(stage / "filler", "wb", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass
    wait_until(lambda: one.client.post(CHAT, json=BODY).status_code == 503, "it is noticed")
    before = len(one.spool_rows())
    assert before >= 1
    (stage / "filler").unlink()
    wait_until(lambda: one.client.post(CHAT, json=BODY).status_code == 200, "space returns")
    assert len(one.spool_rows()) == before + 1
