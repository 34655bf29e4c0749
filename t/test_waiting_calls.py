"""Calls that end while they wait: for a parallel slot, for Redis, for their turn to be counted."""

import contextlib
import json
import signal
import socket

import h2.connection
import httpx
import pytest

from support import nginx_conf
from support.calls import CHAT, chat
from support.gateway import bearer
from support.nginx_conf import KEY, KEY_RECORD
from support.redis_state import open_holds
from support.waiting import wait_until

COUNT = 20
SHORT = chat(model="output-only", max_tokens=10)
LONG = chat("so many words " * 200_000, model="output-only", max_tokens=10)
OTHER = "sk-other"


def connect(port):
    """What is sent leaves at once: a later connection must not overtake it."""
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


class Http1:
    """One connection for each request."""

    def __init__(self, one, bodies):
        self._sockets = []
        for body in map(lambda body: json.dumps(body).encode(), bodies):
            self._sockets.append(connect(one.port))
            head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
            self._sockets[-1].sendall(head.encode() + body)

    def leave(self):
        for one in self._sockets:
            one.close()


class Http2:
    """All of them on one connection, as streams."""

    def __init__(self, one, bodies):
        self._socket = connect(one.port_h2)
        self._h2 = h2.connection.H2Connection()
        self._h2.initiate_connection()
        self._streams = [self._post(json.dumps(body).encode()) for body in bodies]

    def _post(self, body):
        stream = self._h2.get_next_available_stream_id()
        headers = {":method": "POST", ":scheme": "http", ":authority": "x", ":path": CHAT}
        headers["authorization"] = f"Bearer {KEY}"
        self._h2.send_headers(stream, headers.items())
        while body:
            self._socket.sendall(self._h2.data_to_send())
            window = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if window == 0:
                self._h2.receive_data(self._socket.recv(65536))
                continue
            self._h2.send_data(stream, body[:window])
            body = body[window:]
        self._h2.end_stream(stream)
        self._socket.sendall(self._h2.data_to_send())
        return stream

    def leave(self):
        for stream in self._streams:
            self._h2.reset_stream(stream)
        self._socket.sendall(self._h2.data_to_send())


class Http2Gone(Http2):
    """The whole connection goes."""

    def leave(self):
        self._socket.close()


def settings_of(state, redis, timeout="10s"):
    keys = [KEY_RECORD, {"key": OTHER, "alias": "other", "team": "qa"}]
    if state == "slot":
        return {"keys": keys, "limits": ["team=* parallel=1 queue=100 wait=20s"]}
    if state == "redis":
        return {"keys": keys, "redis": f"{redis.url} timeout={timeout} on_failure=deny", "limits": ["team=* parallel=100"]}
    return {"keys": keys, "limits": ["team=* parallel=100"]}


@contextlib.contextmanager
def something_to_wait_for(state, one, mock, redis):
    if state == "slot":
        mock.behave(tokens=400, chunk_delay_ms=20)
        with one.client.stream("POST", CHAT, json=SHORT | {"stream": True, "max_tokens": 400}) as running:
            assert running.status_code == 200
            yield
    elif state == "redis":
        redis.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            redis.signal(signal.SIGCONT)
    else:
        yield


def seen_by_the_worker(one):
    """The only worker answers this after it has seen what came before."""
    assert httpx.get(one.url + "/v1/models", headers=bearer(KEY)).status_code == 200


@pytest.mark.parametrize("state", ["slot", "redis", "turn"])
@pytest.mark.parametrize("client", [Http1, Http2, Http2Gone])
def test_clients_leave(gateway, mock, redis, state, client):
    one = gateway(**settings_of(state, redis))
    bodies = [LONG if state == "turn" else SHORT] * (4 if state == "turn" else COUNT)
    with something_to_wait_for(state, one, mock, redis):
        waiting = client(one, bodies)
        seen_by_the_worker(one)
        waiting.leave()
        gone = lambda: sum(f" {CHAT} " in line for line in map(" ".join, one.access_log()))  # noqa: E731
        wait_until(lambda: gone() == len(bodies), "all that waited are logged")
    mock.behave()
    wait_until(lambda: one.client.post(CHAT, json=SHORT).status_code == 200, "it goes on")
    assert state == "turn" or mock.count() <= 2  # a turn comes soon
    if state == "redis":
        wait_until(lambda: not open_holds(redis.client), "nothing is held")


@pytest.mark.parametrize("state", ["slot", "redis"])
def test_a_worker_has_to_go(gateway, mock, redis, state, monkeypatch):
    """worker_shutdown_timeout ends what still waits in the old worker; its slots come back."""
    monkeypatch.setattr(nginx_conf, "TEMPLATE", "worker_shutdown_timeout 1s;\n" + nginx_conf.TEMPLATE)
    one = gateway(**settings_of(state, redis, timeout="2s"))  # a reply is waited for three times as long
    with contextlib.suppress(httpx.RemoteProtocolError), something_to_wait_for(state, one, mock, redis):
        waiting = [client(one, [SHORT] * COUNT) for client in (Http1, Http2)]
        seen_by_the_worker(one)
        [old] = one.workers()
        one.reload()
        wait_until(lambda: old not in one.all_workers(), "the old worker is gone")
        for each in waiting:
            with contextlib.suppress(OSError):
                each.leave()
    mock.behave()
    wait_until(lambda: one.client.post(CHAT, json=SHORT).status_code == 200, "its slots are free")
    if state == "redis":
        wait_until(lambda: not open_holds(redis.client), "nothing is held")
