"""Calls that take longer than a hold lasts without being renewed: ten minutes."""

import subprocess
import threading
import time

import pytest

from support import gateway as gateway_module
from support.calls import CHAT, chat
from support.paths import PRELOAD, TESTS
from support.waiting import wait_until

FACTOR = 200  # minutes of nginx are tenths of a second
BODY = chat(model="output-only", max_tokens=10)


@pytest.fixture
def fast_clock(tmp_path, monkeypatch):
    """Gateways that are made now have clocks that run fast."""
    shim = tmp_path / "fast_clock.so"
    source = TESTS / "support/fast_clock.c"
    options = ["-shared", "-fPIC", "-O2", f"-DFACTOR={FACTOR}", f"-DORIGIN={int(time.time())}LL"]
    subprocess.run(["cc", *options, "-o", shim, source], check=True)
    monkeypatch.setattr(gateway_module, "PRELOAD", f"{PRELOAD} {shim}".strip())


FIRST_ANSWER = {
    "slow answer": {"delay_ms": 5000},
    "slow stream": {"chunk_delay_ms": 900},
    "second attempt": {"hang": 1},
}


@pytest.mark.parametrize("way", FIRST_ANSWER)
def test_a_hold_lasts_as_long_as_its_call(gateway, mock, fast_clock, way):
    """However long a provider is silent: its slot stays taken, and what it used is charged."""
    mock.behave(tokens=7, **FIRST_ANSWER[way])
    one = gateway(
        limits=["key=* parallel=1"],
        proxy={"proxy_read_timeout": "700s" if way == "second attempt" else "3600s"},
        routes=["output-only mock", *["output-only mock backup"] * (way == "second attempt")],
    )
    answers = []
    body = BODY | {"stream": way == "slow stream"}
    call = threading.Thread(target=lambda: answers.append(one.client.post(CHAT, json=body)))
    call.start()
    wait_until(lambda: mock.count() == 1, "the provider is asked")
    mock.behave(tokens=7, delay_ms=1500)
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() - begun > 4, "13 minutes of nginx are over")
    assert one.client.post(CHAT, json=BODY).status_code == 429
    call.join()
    rows = {row["status"]: row for row in one.wait_rows(2)}
    assert rows[200]["usage_source"] == "reported"
