"""Rates and parallelism, and what the answers say about them."""

import collections
import contextlib
import re

import pytest

from support.calls import CHAT, assert_openai_error, chat, stream_events
from support.load import fire
from support.nginx_conf import KEY_RECORD
from support.waiting import wait_until

BODY = chat(model="output-only", max_tokens=10)
DURATION = re.compile(r"(?=\d)(\d+h)?(\d+m(?!s))?(\d+(\.\d+)?s)?(\d+ms)?")


def assert_rate_limited(response):
    error = assert_openai_error(response, 429, "rate_limit_exceeded")
    assert response.headers.get("x-should-retry") != "false"
    assert int(response.headers["retry-after"]) >= 1
    return error


def number(response, name):
    return int(response.headers[f"x-ratelimit-{name}"])


@pytest.mark.parametrize("source", ["record", "key=*", "key=tester", "team=*", "team=qa"])
def test_requests_per_minute(gateway, mock, ledger, source):
    if source == "record":
        one = gateway(keys=[KEY_RECORD | {"rpm_limit": 3}], **ledger)
    else:
        one = gateway(limits=[f"{source} rpm=3"], **ledger)
    for left in (2, 1, 0):
        response = one.client.post(CHAT, json=BODY)
        assert response.status_code == 200
        assert number(response, "limit-requests") == 3
        assert number(response, "remaining-requests") == left
        assert DURATION.fullmatch(response.headers["x-ratelimit-reset-requests"])
    refused = one.client.post(CHAT, json=BODY)
    assert_rate_limited(refused)
    assert int(refused.headers["retry-after"]) <= 65  # a minute, and the slice it ends in
    assert number(refused, "remaining-requests") == 0
    assert mock.count() == 3


def test_twenty_of_a_hundred_at_once(gateway, mock, ledger):
    one = gateway(workers=4, reuseport=True, limits=["key=* rpm=20"], **ledger)
    responses = fire(one, [BODY] * 100)
    assert collections.Counter(r.status_code for r in responses) == {200: 20, 429: 80}
    assert mock.count() == 20


def test_tokens_per_minute(gateway, mock, ledger):
    """Equal requests: what remains falls by what the one before really used."""
    mock.behave(tokens=10)
    one = gateway(keys=[KEY_RECORD | {"tpm_limit": 1000}], **ledger)
    first, second = (one.client.post(CHAT, json=BODY) for _ in range(2))
    assert number(first, "limit-tokens") == 1000
    assert DURATION.fullmatch(first.headers["x-ratelimit-reset-tokens"])
    used = first.json()["usage"]["total_tokens"]
    assert number(first, "remaining-tokens") - number(second, "remaining-tokens") == used
    assert number(first, "remaining-tokens") <= 1000 - used


def test_tokens_run_out(gateway, mock, ledger):
    mock.behave(tokens=10)
    one = gateway(limits=["team=qa tpm=300"], **ledger)
    responses = [one.client.post(CHAT, json=BODY) for _ in range(40)]
    admitted = [r for r in responses if r.status_code == 200]
    used = sum(r.json()["usage"]["total_tokens"] for r in admitted)
    assert 0 < used <= 300
    assert len(admitted) == mock.count() < 40
    assert_rate_limited(responses[-1])


def test_a_refused_request_consumes_nothing(gateway, mock, ledger):
    """It does not fit into the tokens, so it takes none of the requests either."""
    mock.behave(usage={"prompt_tokens": 1800, "completion_tokens": 10})
    one = gateway(limits=["key=* rpm=5 tpm=2k", "team=* rpm=100"], **ledger)
    assert number(one.client.post(CHAT, json=BODY), "remaining-requests") == 4
    for _ in range(5):
        assert_rate_limited(one.client.post(CHAT, json=BODY | {"max_tokens": 500}))
    response = one.client.post(CHAT, json=BODY)
    assert response.status_code == 200
    assert number(response, "remaining-requests") == 3
    assert mock.count() == 2


def test_a_malformed_request_consumes_nothing(gateway, ledger):
    one = gateway(limits=["key=* rpm=3"], **ledger)
    for _ in range(5):
        assert one.client.post(CHAT, content="{").status_code == 400
    assert number(one.client.post(CHAT, json=BODY), "remaining-requests") == 2


@pytest.mark.parametrize("source", ["record", "key=*", "team=qa"])
def test_parallel(gateway, mock, ledger, source):
    """Two streams at once; a third is admitted as soon as one of them has ended."""
    mock.behave(tokens=8, chunk_delay_ms=150)
    if source == "record":
        one = gateway(keys=[KEY_RECORD | {"max_parallel_requests": 2}], **ledger)
    else:
        one = gateway(limits=[f"{source} parallel=2"], **ledger)
    with contextlib.ExitStack() as streams:
        opened = [
            streams.enter_context(one.client.stream("POST", CHAT, json=BODY | {"stream": True}))
            for _ in range(2)
        ]
        assert [response.status_code for response in opened] == [200, 200]
        assert_rate_limited(one.client.post(CHAT, json=BODY))
        for response in opened:
            assert list(stream_events(response))[-1] == "[DONE]"
    wait_until(lambda: one.client.post(CHAT, json=BODY).status_code == 200, "a slot is free")
    # The log line follows the row, which is written before the answer ends.
    wait_until(lambda: len(one.spool_rows()) == len(one.access_log()), "a row for each request")


@pytest.mark.parametrize("way", ["client leaves", "provider cuts", "provider fails"])
def test_a_slot_is_given_back_however_it_ends(gateway, mock, ledger, way):
    one = gateway(limits=["key=* parallel=1"], **ledger)
    if way == "client leaves":
        mock.behave(tokens=200, chunk_delay_ms=20)
        with one.client.stream("POST", CHAT, json=BODY | {"stream": True, "max_tokens": 200}) as r:
            next(r.iter_raw())
    elif way == "provider cuts":
        mock.behave(cut_after=2)
        with (
            contextlib.suppress(Exception),
            one.client.stream("POST", CHAT, json=BODY | {"stream": True}) as r,
        ):
            r.read()
    else:
        mock.behave(status=500)
        assert one.client.post(CHAT, json=BODY).status_code >= 500
    mock.behave()
    wait_until(lambda: one.client.post(CHAT, json=BODY).status_code == 200, "the slot is free")


def test_no_limits_no_headers(gateway):
    response = gateway().client.post(CHAT, json=BODY)
    assert response.status_code == 200
    assert not [name for name in response.headers if name.startswith("x-ratelimit-")]
