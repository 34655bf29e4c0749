"""A real nginx with the module, in a directory of its own."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import zlib

import httpx

from support.nginx_conf import KEY, Settings, render, write_files
from support.paths import PRELOAD, program
from support.waiting import accepts_connections, free_port, wait_until

ALARMS = re.compile(r"\[(?:alert|crit|emerg)\]|exited on signal|Sanitizer")


class Gateway:
    def __init__(self, prefix, settings=None):
        self.prefix = prefix
        self.port, self.port_h2 = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.base_url = self.url + "/v1"  # as the SDKs want it
        self.settings = settings or Settings()
        self._expected = []  # patterns of alarms that a test causes on purpose
        self._process = None
        self.client = httpx.Client(base_url=self.url, timeout=30, headers=bearer(KEY))

    # --- running ---

    def configure(self, **changes):
        """Changes settings and writes the files; takes effect with start() or reload()."""
        for name, value in changes.items():
            assert hasattr(self.settings, name), name
            setattr(self.settings, name, value)
        write_files(self.prefix, self.settings)
        text = render(self.prefix, self.settings, self.port, self.port_h2)
        (self.prefix / "nginx.conf").write_text(text)

    def command(self, *arguments):
        conf = self.prefix / "nginx.conf"
        return [program("nginx"), "-p", self.prefix, "-c", conf, *arguments]

    def start(self):
        self.configure()
        with open(self.prefix / "stderr.log", "a") as log:
            command = self.command("-e", self.prefix / "error.log", "-g", "daemon off;")
            self._process = subprocess.Popen(command, stderr=log, env=environment())
        wait_until(self._serves, "nginx serves")
        return self

    def _serves(self):
        if self._process.poll() is not None:
            raise AssertionError(f"nginx did not start:\n{self.stderr}\n{self.error_log}")
        return accepts_connections(self.port) and len(self.workers()) == self.settings.workers

    @property
    def master(self):
        return self._process.pid

    def wait(self):
        """Until the master is gone."""
        self._process.wait(timeout=15)

    def workers(self):
        """The pids of the workers that take new connections."""
        return [pid for pid, title in self._children() if title == "nginx: worker process"]

    def all_workers(self):
        """Those and the ones that are shutting down."""
        return [pid for pid, title in self._children() if "worker process" in title]

    def _children(self):
        master = self._process.pid
        for pid in pathlib.Path(f"/proc/{master}/task/{master}/children").read_text().split():
            try:
                title = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just left
            yield int(pid), title.rstrip(b"\0 ").decode()

    def reload(self, **changes):
        """Returns when every new connection meets new workers; old ones may still finish theirs."""
        self.configure(**changes)
        old = set(self.all_workers())
        emergencies = self.error_log.count("[emerg]")
        self._process.send_signal(signal.SIGHUP)

        def replaced():
            assert self.error_log.count("[emerg]") == emergencies, self.error_log
            new = set(self.workers())
            return len(new) == self.settings.workers and not new & old

        wait_until(replaced, "new workers serve")

    def kill_worker(self, pid=None, number=signal.SIGKILL):
        """Kills one worker and returns when another has taken its place."""
        pid = pid or self.workers()[0]
        self.expect_alarm(rf"worker process {pid} exited on signal {number:d}")
        self.expect_alarm(rf"shared memory zone .* was locked by {pid}")
        os.kill(pid, number)
        wait_until(
            lambda: pid not in self.all_workers() and len(self.workers()) == self.settings.workers,
            "a new worker serves",
        )

    def stop(self):
        """Gracefully; an AssertionError if it does not end."""
        self.client.close()
        if not self._process or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGQUIT)
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired as late:
            left = self.all_workers()
            for pid in [self._process.pid, *left]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait(timeout=10)
            raise AssertionError("nginx did not end gracefully within 15 s") from late

    def conf_test(self, text):
        """`nginx -t` of a whole configuration: (exit code, what it said)."""
        write_files(self.prefix, self.settings)
        (self.prefix / "nginx.conf").write_text(text)
        done = self.run_test()
        return done.returncode, done.stderr

    def run_test(self):
        """`nginx -t` of what is configured."""
        return subprocess.run(
            self.command("-t", "-e", "stderr"),
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            env=environment(),
        )

    # --- what it wrote ---

    @property
    def stderr(self):
        return (self.prefix / "stderr.log").read_text()

    @property
    def error_log(self):
        path = self.prefix / "error.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def access_log(self):
        """Lines as lists: pid, status, request URI, request id."""
        return [line.split() for line in (self.prefix / "access.log").read_text().splitlines()]

    def spool_rows(self):
        """Every whole line of the spool, checked against its checksum."""
        rows = []
        for segment in sorted((self.prefix / "spool").glob("*.jsonl")):
            *lines, _ = segment.read_bytes().split(b"\n")
            rows += [parse_row(line) for line in lines]
        return rows

    def wait_rows(self, count):
        """The spool's rows, as soon as there are `count` of them; more are an error."""
        enough = lambda: (rows := self.spool_rows()) and len(rows) >= count and rows  # noqa: E731
        rows = wait_until(enough, f"{count} rows in the spool")
        assert len(rows) == count
        return rows

    def wait_row(self):
        return self.wait_rows(1)[0]

    def expect_alarm(self, pattern):
        """The test causes a log line like this on purpose."""
        self._expected.append(re.compile(pattern))

    def alarms(self):
        lines = [line for line in self.error_log.splitlines() if ALARMS.search(line)]
        return [line for line in lines if not any(p.search(line) for p in self._expected)]


def environment():
    if not PRELOAD:
        return None
    # nginx leaves its pools to the end of the process, and a dynamic module repeats some names.
    options = "detect_leaks=0:detect_odr_violation=0"
    return os.environ | {"LD_PRELOAD": PRELOAD, "ASAN_OPTIONS": options}


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def parse_row(line):
    row = json.loads(line)
    counted = line[: line.rindex(b',"crc"')]
    assert int(row["crc"], 16) == zlib.crc32(counted), line
    return row
