#!/usr/bin/env python3
"""What the gateway costs beside plain nginx: gateway.py

One worker on one core; the load, the upstream, Redis and Postgres share the others. Every figure is
taken in turns with plain nginx in the same run: read the ratios, absolute times are noise.
"""

import contextlib
import json
import os
import pathlib
import random
import re
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from support.gateway import Gateway  # noqa: E402
from support.nginx_conf import KEY, Settings, provider  # noqa: E402
from support.paths import FIXTURES, program  # noqa: E402
from support.servers import Postgres, Redis  # noqa: E402
from support.waiting import accepts_connections, free_port, wait_until  # noqa: E402

ROUNDS = 5
SECONDS = 3
CONNECTIONS = 32
LONG = 1_000_000
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


def body(text, model="gpt-4o-mini"):
    return {"model": model, "messages": [{"role": "user", "content": text}]}


def lua(directory, path, text):
    script = directory / f"load{path.replace('/', '-')}.lua"
    script.write_text(
        'wrk.method = "POST"\n'
        f'wrk.path = "{path}"\n'
        f"wrk.body = [==[{json.dumps(body(text))}]==]\n"
        f'wrk.headers["Authorization"] = "Bearer {KEY}"\n'
        'wrk.headers["Content-Type"] = "application/json"\n')
    return script


def wrk(url, script):
    command = [program("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", script, url]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit(out)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])


def cpu_us(pid):
    ticks = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) * 1e6 / os.sysconf("SC_CLK_TCK")


def measure(gateway, script):
    """Requests per second, and the worker's CPU time for one."""
    [worker] = gateway.workers()
    before = cpu_us(worker)
    rate = wrk(gateway.url, script)
    return rate, (cpu_us(worker) - before) / (rate * SECONDS)


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


@contextlib.contextmanager
def redis_server(directory):
    server = Redis(directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def postgres_server():
    cluster = Postgres()
    try:
        cluster.create()
        cluster.reset()
        yield cluster
    finally:
        cluster.destroy()


def compare_throughput(directory, name, port, **settings):
    with gateway(directory, name, port, **settings) as one:
        plain_load, load = (lua(directory, path, (PROSE * 10)[:1024]) for path in
                            ("/plain/chat/completions", "/v1/chat/completions"))
        measure(one, plain_load), measure(one, load)  # warm
        rounds = [(measure(one, plain_load), measure(one, load)) for _ in range(ROUNDS)]
        ratio = statistics.median(ours[0] / plain[0] for plain, ours in rounds)
        added = statistics.median(ours[1] - plain[1] for plain, ours in rounds)
        plain_us = statistics.median(plain[1] for plain, _ in rounds)
        rate = statistics.median(ours[0] for _, ours in rounds)
        print(f"{name:20}{rate:10.0f}/s{ratio:9.2f} x plain nginx{added:9.1f} us CPU added"
              f" (plain: {plain_us:.1f} us)", flush=True)


class Connection:
    """One kept-alive connection, on which one request is sent after the other."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, path, content):
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(content)}"
        self.socket.sendall(f"{head}\r\n\r\n".encode() + content)

    def is_answered(self):
        return bool(select.select([self.socket], [], [], 0)[0])

    def receive(self):
        got = b""
        while not got.endswith(ANSWER.encode()):
            got += self.socket.recv(65536)

    def microseconds(self, path, content):
        begin = time.perf_counter()
        self.send(path, content)
        self.receive()
        return (time.perf_counter() - begin) * 1e6


def long_texts():
    source = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ("".join(source.choices(letters, k=source.randrange(2, 12))) for _ in range(200_000))
    return {"prose": PROSE * 10_000, "random words": " ".join(words), "one letter": "a" * LONG,
            "dashes": "-" * LONG}


def compare_latency(directory, port):
    """Small requests, one after the other, for as long as a prompt of 1 MB is in flight.

    One thread sends all of them, so that nothing but the worker is waited for.
    """
    path, plain = "/v1/chat/completions", "/plain/chat/completions"
    small = json.dumps(body(PROSE[:200])).encode()
    with gateway(directory, "latency", port) as one:
        quick, slow = Connection(one.port), Connection(one.port)
        alone = [quick.microseconds(path, small) for _ in range(3000)]
        report_latency("alone", alone)
        cases = [("passed on by plain nginx", plain, PROSE * 10_000)]
        cases += [(f"of {kind}", path, text) for kind, text in long_texts().items()]
        for name, long_path, text in cases:
            content = json.dumps(body(text[:LONG], "gpt-4o")).encode()
            times = []
            for _ in range(100):
                slow.send(long_path, content)
                times.append(quick.microseconds(path, small))
                while not slow.is_answered():
                    times.append(quick.microseconds(path, small))
                slow.receive()
            report_latency(f"beside 1 MB {name}", times)


def report_latency(name, times):
    half, most = (statistics.quantiles(times, n=100)[i] for i in (49, 98))
    print(f"small request {name:36} p50 {half:5.0f} us   p99 {most:5.0f} us   ({len(times)} of them)", flush=True)


def main():
    with tempfile.TemporaryDirectory() as temporary:
        directory = pathlib.Path(temporary)
        directory.chmod(0o755)
        with upstream(directory) as port:
            others = os.sched_getaffinity(0) - {min(os.sched_getaffinity(0))}
            os.sched_setaffinity(0, others or os.sched_getaffinity(0))
            compare_latency(directory, port)
            compare_throughput(directory, "memory", port)
            with redis_server(directory) as redis:
                compare_throughput(directory, "redis", port, redis=redis.url)
            with postgres_server() as postgres:
                compare_throughput(directory, "memory-postgres", port, postgres=postgres.conninfo,
                                   postgres_options="")


if __name__ == "__main__":
    main()
