#!/usr/bin/env python3
"""The way of a spend row, to the disk and to Postgres: spend.py BENCH_SPOOL

First the log phase alone, then one worker that carries what was spooled to a local Postgres (which
does not sync its disk), with the daily sums and all indexes. The worker, Postgres and whatever else the
machine does share its cores: the CPU times say what a row costs when they do not have to wait.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import psycopg

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from support.gateway import Gateway  # noqa: E402
from support.nginx_conf import Settings, provider  # noqa: E402
from support.servers import Postgres  # noqa: E402
from support.waiting import POLL_SECONDS  # noqa: E402

ROWS = 1_000_000
WARM_UP = ROWS // 10
BACKEND = "SELECT pid FROM pg_stat_activity WHERE application_name = 'nginx-llm'"
STORED = "SELECT coalesce(sum(requests), 0)::bigint FROM llm_spend_daily"


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_kib(pid):
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") // 1024


class Mark:
    """How far it is, and what it has taken."""

    def __init__(self, connection, worker, backend):
        self.rows = connection.execute(STORED).fetchone()[0]
        self.time = time.monotonic()
        self.worker = cpu_seconds(worker)
        self.backend = cpu_seconds(backend)
        self.resident = resident_kib(worker)


def deliver(one, postgres):
    """From when WARM_UP rows are stored to when all are."""
    with psycopg.connect(postgres.conninfo, autocommit=True) as connection:
        while not (found := connection.execute(BACKEND).fetchone()):
            time.sleep(POLL_SECONDS)
        [worker], [backend] = one.workers(), found
        mark = lambda: Mark(connection, worker, backend)  # noqa: E731
        while (begin := mark()).rows < WARM_UP:
            time.sleep(POLL_SECONDS)
        while (end := mark()).rows < ROWS:
            time.sleep(POLL_SECONDS)
    assert end.rows == ROWS
    return begin, end


def report(begin, end):
    rows = end.rows - begin.rows
    of_worker = (end.worker - begin.worker) / rows * 1e6
    of_backend = (end.backend - begin.backend) / rows * 1e6
    print(f"Postgres: {rows / (end.time - begin.time):.0f} rows/s")
    print(f"CPU per row: worker {of_worker:.1f} us, its Postgres backend {of_backend:.1f} us")
    print(f"memory growth of the worker: {end.resident - begin.resident} KiB over {rows} rows")


def main():
    [bench_spool] = sys.argv[1:]
    postgres = Postgres()
    with tempfile.TemporaryDirectory(prefix="llm-bench-") as directory:
        prefix = pathlib.Path(directory)
        spool = prefix / "spool"
        spool.mkdir()
        subprocess.run([bench_spool, spool, str(ROWS)], check=True)
        try:
            postgres.create()
            settings = Settings(
                postgres=postgres.conninfo,
                postgres_options="",
                providers=[provider("mock", "http://127.0.0.1:1")],
            )
            one = Gateway(prefix, settings).start()
            report(*deliver(one, postgres))
            one.stop()
        finally:
            postgres.destroy()


if __name__ == "__main__":
    main()
