"""Waiting for a condition, never for a time."""

import contextlib
import random
import socket
import time

POLL_SECONDS = 0.02


def wait_until(condition, what, timeout=10.0):
    """The first true value of condition(); an AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(POLL_SECONDS)


def accepts_connections(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


_given_ports = set()


def free_port():
    """Below those that outgoing connections get, which would take it before its server does.

    None is given twice: the first server may not have taken it yet.
    """
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            port = random.randrange(15_000, 32_768)
            probe.bind(("127.0.0.1", port))
            if port not in _given_ports:
                _given_ports.add(port)
                return port
