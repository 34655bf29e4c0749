#!/usr/bin/env python3
"""What the gateway costs beside plain nginx: gateway.py

One worker on one core; the load, the upstream, Redis and Postgres share the others. Every figure is
taken in turns with plain nginx in the same run: read the ratios, absolute times are noise.
"""

import contextlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from support.gateway import Gateway, bearer  # noqa: E402
from support.nginx_conf import KEY, Settings, provider  # noqa: E402
from support.paths import FIXTURES, program  # noqa: E402
from support.servers import Postgres, Redis  # noqa: E402
from support.waiting import accepts_connections, free_port, wait_until  # noqa: E402

ROUNDS = 5
SECONDS = 3
CONNECTIONS = 32
ANSWER = json.dumps({
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
    "choices": [{"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": "A short answer. " * 12}}],
    "usage": {"prompt_tokens": 200, "completion_tokens": 50, "total_tokens": 250}})
PROSE = ("The quick brown fox jumps over the lazy dog while seventeen engineers argue about the "
         "budget of next quarter, and nobody has read the minutes. ")
LIMITS = dict(budgets=["global 1000000usd/1mo", "org=* 1000000usd/30d", "team=* 100000usd/30d",
                       "key=* 100000usd/1d"],
              limits=["key=* rpm=100000000 tpm=1000000000000 parallel=1000"])

UPSTREAM = """
daemon off; worker_processes 1; pid {dir}/up.pid; error_log {dir}/up.log;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 1000000000; client_max_body_size 32m;
    client_body_temp_path {dir}/up-body;
    server {{ listen 127.0.0.1:{port}; default_type application/json;
              location / {{ return 200 '{answer}'; }} }}
}}
"""

PLAIN = """
    upstream plain {{ server 127.0.0.1:{port}; keepalive 64; }}
"""
PLAIN_LOCATION = """
        location /plain/ {
            proxy_pass http://plain/v1/; proxy_http_version 1.1; proxy_set_header Connection "";
            client_max_body_size 32m; client_body_buffer_size 1m;
        }
"""


def body(size, model="gpt-4o-mini"):
    text = (PROSE * (size // len(PROSE) + 1))[:size]
    return {"model": model, "messages": [{"role": "user", "content": text}]}


def lua(directory, path, size):
    script = directory / f"load-{path.strip('/').replace('/', '-')}-{size}.lua"
    script.write_text(
        'wrk.method = "POST"\n'
        f'wrk.path = "{path}"\n'
        f"wrk.body = [==[{json.dumps(body(size))}]==]\n"
        f'wrk.headers["Authorization"] = "Bearer {KEY}"\n'
        'wrk.headers["Content-Type"] = "application/json"\n')
    return script


def wrk(url, script, connections, seconds):
    """Requests per second, and the latency that 99 of 100 stay below, in µs."""
    command = [program("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", script, url]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit(out)
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", out).groups()
    return rate, float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def cpu_us(pid):
    ticks = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) * 1e6 / os.sysconf("SC_CLK_TCK")


def measure(gateway, script, connections=CONNECTIONS):
    [worker] = gateway.workers()
    before = cpu_us(worker)
    rate, p99 = wrk(gateway.url, script, connections, SECONDS)
    return rate, (cpu_us(worker) - before) / (rate * SECONDS), p99


@contextlib.contextmanager
def upstream(directory):
    port = free_port()
    conf = directory / "upstream.conf"
    conf.write_text(UPSTREAM.format(dir=directory, port=port, answer=ANSWER))
    process = subprocess.Popen([program("nginx"), "-p", directory, "-e", directory / "up.log", "-c", conf])
    try:
        wait_until(lambda: accepts_connections(port), "the upstream serves")
        yield port
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def gateway(directory, name, port, **settings):
    prefix = directory / name
    prefix.mkdir()
    # The upstream answers before it has read a long prompt, whose tail would then delay the next
    # request on the same connection: so long ones have connections of their own.
    defaults = dict(providers=[provider(name, f"http://127.0.0.1:{port}") for name in ("up", "long")],
                    routes=["gpt-4o-mini up", "gpt-4o long"], zone="64m",
                    prices=f"{FIXTURES}/prices.json unknown=free",
                    http="    access_log off;\n" + PLAIN.format(port=port), server=PLAIN_LOCATION)
    one = Gateway(prefix, Settings(**defaults | LIMITS | settings)).start()
    [worker] = one.workers()
    os.sched_setaffinity(worker, {min(os.sched_getaffinity(0))})
    try:
        yield one
    finally:
        one.stop()


def compare_throughput(directory, name, port, **settings):
    with gateway(directory, name, port, **settings) as one:
        plain_load, load = (lua(directory, path, 1024) for path in
                            ("/plain/chat/completions", "/v1/chat/completions"))
        measure(one, plain_load), measure(one, load)  # warm
        rounds = [(measure(one, plain_load), measure(one, load)) for _ in range(ROUNDS)]
        ratio = statistics.median(ours[0] / plain[0] for plain, ours in rounds)
        added = statistics.median(ours[1] - plain[1] for plain, ours in rounds)
        plain_us = statistics.median(plain[1] for plain, _ in rounds)
        rate = statistics.median(ours[0] for _, ours in rounds)
        print(f"{name:20}{rate:10.0f}/s{ratio:9.2f} x plain nginx{added:9.1f} us CPU added"
              f" (plain: {plain_us:.1f} us)", flush=True)


class LongPrompts:
    """One after the other, each on the same connection, all the time."""

    def __init__(self, url, path, size):
        self._content = json.dumps(body(size, "gpt-4o")).encode()
        self._url, self._path = url, path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answered = 0

    def _run(self):
        import httpx
        with httpx.Client(base_url=self._url, headers=bearer(KEY), timeout=60) as client:
            while not self._stop.is_set():
                client.post(self._path, content=self._content).raise_for_status()
                self.answered += 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


def compare_latency(directory, port):
    """Small requests on one connection, while a prompt of 1 MB is always in flight."""
    with gateway(directory, "latency", port) as one:
        load = lua(directory, "/v1/chat/completions", 200)
        measure(one, load, 1)
        rows = {"alone": [], "beside 1 MB passed on": [], "beside 1 MB counted": []}
        for _ in range(ROUNDS):
            rows["alone"].append(measure(one, load, 1)[2])
            with LongPrompts(one.url, "/plain/chat/completions", 1_000_000):
                rows["beside 1 MB passed on"].append(measure(one, load, 1)[2])
            with LongPrompts(one.url, "/v1/chat/completions", 1_000_000) as long_ones:
                rows["beside 1 MB counted"].append(measure(one, load, 1)[2])
                assert long_ones.answered > 0
        for name, values in rows.items():
            print(f"p99 of a small request, {name:24}{statistics.median(values):8.0f} us", flush=True)


def main():
    with tempfile.TemporaryDirectory() as temporary:
        directory = pathlib.Path(temporary)
        directory.chmod(0o755)
        with upstream(directory) as port:
            others = os.sched_getaffinity(0) - {min(os.sched_getaffinity(0))}
            os.sched_setaffinity(0, others or os.sched_getaffinity(0))
            compare_latency(directory, port)
            compare_throughput(directory, "memory", port)


if __name__ == "__main__":
    main()
