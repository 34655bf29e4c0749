"""Requests that wait for Redis: none is forgotten, whatever happens meanwhile."""

import json
import signal
import socket

from support.calls import CHAT, assert_openai_error, chat
from support.nginx_conf import KEY


def head_and_body(body, path=CHAT):
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def test_body_that_came_right_behind_a_long_head(gateway, redis, mock):
    """nginx then reads it at once, but not with the head."""
    one = gateway(redis=f"{redis.url} timeout=5s", budgets=["key=* 1usd/1d"])
    for size in (100, 900, 1100, 5000, 60_000):
        body = json.dumps(chat("x " * size)).encode()
        with socket.create_connection(("127.0.0.1", one.port), timeout=10) as connection:
            connection.sendall(head_and_body(body))
            assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 200"), size


def test_reload_while_a_request_waits(gateway, redis, mock):
    one = gateway(redis=f"{redis.url} timeout=3s on_failure=deny", budgets=["key=* 1usd/1d"])
    assert one.client.post(CHAT, json=chat()).status_code == 200
    redis.signal(signal.SIGSTOP)
    try:
        with socket.create_connection(("127.0.0.1", one.port), timeout=10) as connection:
            connection.sendall(head_and_body(json.dumps(chat()).encode()))
            # The only worker answers this after it has seen that.
            assert one.client.get("/v1/models").status_code == 200
            one.reload()
            redis.signal(signal.SIGCONT)
            assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 200")
    finally:
        redis.signal(signal.SIGCONT)
    one.wait_rows(2)


def test_stopped_redis_keeps_nobody_longer_than_its_timeout(gateway, redis, mock):
    one = gateway(redis=f"{redis.url} timeout=200ms on_failure=deny", budgets=["key=* 1usd/1d"])
    assert one.client.post(CHAT, json=chat()).status_code == 200
    redis.signal(signal.SIGSTOP)
    try:
        response = one.client.post(CHAT, json=chat(), timeout=5)
        assert_openai_error(response, 503)
    finally:
        redis.signal(signal.SIGCONT)
    assert mock.count() == 1
