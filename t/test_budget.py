"""Budgets: exactly as many requests as the money is for, whatever the concurrency.

The model `output-only` costs 1000 nano-USD per output token and nothing for its prompt. With an
answer of exactly max_tokens, what is settled is what was held.
"""

import collections
import datetime
import zoneinfo

import httpx
import openai
import pytest

from support import redis_state
from support.calls import CHAT, assert_openai_error, chat
from support.gateway import bearer
from support.load import fire
from support.waiting import wait_until
from support.nginx_conf import KEY, KEY_RECORD

TOKENS = 1000
NANO_USD = TOKENS * 1000  # per request
TEN_REQUESTS = "0.01"  # USD
BODY = chat(model="output-only", max_tokens=TOKENS)


def assert_budget_exceeded(response):
    error = assert_openai_error(response, 429, "budget_exceeded")
    assert error["type"] == "budget_exceeded"
    assert response.headers["x-should-retry"] == "false"
    return error


def test_ten_of_two_hundred_at_once(gateway, mock, ledger):
    mock.behave(tokens=TOKENS, delay_ms=200)
    record = KEY_RECORD | {"max_budget": float(TEN_REQUESTS), "budget_duration": "30d"}
    one = gateway(workers=4, reuseport=True, keys=[record], **ledger)
    responses = fire(one, [BODY] * 200)
    assert collections.Counter(r.status_code for r in responses) == {200: 10, 429: 190}
    assert mock.count() == 10
    for response in responses:
        if response.status_code == 429:
            assert "key" in assert_budget_exceeded(response)["param"]
        else:
            assert response.json()["usage"]["completion_tokens"] == TOKENS
    rows = one.wait_rows(200)
    assert sum(row["cost_nano_usd"] for row in rows) == 10 * NANO_USD
    assert {row["error_kind"] for row in rows if row["status"] == 429} == {"budget_exceeded"}
    assert len({line[0] for line in one.access_log()}) > 1  # more than one worker took part
    assert_budget_exceeded(one.client.post(CHAT, json=BODY))


@pytest.mark.parametrize(
    "scope, param",
    [
        ("global", "global"),
        ("team=*", "team"),
        ("team=qa", "team"),
        ("key=*", "key"),
        ("key=tester", "key"),
    ],
)
def test_budget_directive(gateway, mock, ledger, scope, param):
    mock.behave(tokens=TOKENS)
    one = gateway(budgets=[f"{scope} {TEN_REQUESTS}usd/30d"], **ledger)
    for _ in range(10):
        assert one.client.post(CHAT, json=BODY).status_code == 200
    for _ in range(2):
        assert param in assert_budget_exceeded(one.client.post(CHAT, json=BODY))["param"]
    assert mock.count() == 10


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_was_not_used_is_given_back(gateway, mock, ledger, stream):
    """A tenth of each hold is used: the last of 91 requests has 90 tenths before it."""
    mock.behave(tokens=TOKENS // 10)
    one = gateway(budgets=[f"key=* {TEN_REQUESTS}usd/30d"], **ledger)
    body = BODY | {"stream": stream}
    admitted = 0
    while (response := one.client.post(CHAT, json=body)).status_code == 200:
        admitted += 1
        assert admitted <= 91
    assert_budget_exceeded(response)
    assert admitted == 91


def test_a_providers_error_costs_nothing(gateway, mock, ledger):
    mock.behave(status=400)
    one = gateway(budgets=[f"key=* {TEN_REQUESTS}usd/30d"], **ledger)
    for _ in range(20):
        assert one.client.post(CHAT, json=BODY).status_code == 400
    assert {row["cost_nano_usd"] for row in one.wait_rows(20)} == {0}


def test_each_team_has_its_own(gateway, mock, ledger):
    mock.behave(tokens=TOKENS)
    keys = [KEY_RECORD, {"key": "sk-other", "alias": "other", "team": "ops"}]
    one = gateway(keys=keys, budgets=[f"team=* {TEN_REQUESTS}usd/30d"], **ledger)
    for key in (KEY, "sk-other"):
        statuses = [
            httpx.post(one.url + CHAT, json=BODY, headers=bearer(key)).status_code
            for _ in range(11)
        ]
        assert statuses == [200] * 10 + [429]


def test_refusal_names_no_other_tenant(gateway, mock):
    mock.behave(tokens=TOKENS)
    one = gateway(budgets=["team=qa 0.001usd/30d"])
    one.client.post(CHAT, json=BODY)
    response = one.client.post(CHAT, json=BODY)
    assert_budget_exceeded(response)
    assert "acme" not in response.text


def test_sdk_does_not_retry_an_empty_budget(gateway, mock, openai_client):
    one = gateway(budgets=["key=* 0.0001usd/30d"])
    client = openai_client(one, max_retries=2)
    with pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(**BODY)
    assert refused.value.code == "budget_exceeded"
    one.wait_rows(1)
    wait_until(lambda: len(one.access_log()) == 1, "one request only")
    assert mock.count() == 0


def test_months_of_a_time_zone(gateway, mock, redis):
    mock.behave(tokens=TOKENS)
    zone = "America/Sao_Paulo"
    one = gateway(
        redis=f"{redis.url} timeout=5s on_failure=deny", budgets=[f"global 1usd/1mo@{zone}"]
    )
    before = datetime.datetime.now(zoneinfo.ZoneInfo(zone))
    assert one.client.post(CHAT, json=BODY).status_code == 200
    start, end, used, _ = redis_state.numbers(redis.client, f"global:usd:1mo@{zone}")
    first = before.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    assert start == first.timestamp() * 1000
    next_month = (first + datetime.timedelta(days=32)).replace(day=1)
    assert end == next_month.timestamp() * 1000
    assert used == NANO_USD


def test_redis_keys_expire(gateway, mock, redis):
    mock.behave(tokens=TOKENS)
    one = gateway(
        redis=f"{redis.url} timeout=5s on_failure=deny",
        budgets=["global 1usd/1mo", "team=* 1usd/1w", "key=* 1usd/1d"],
        limits=["key=* rpm=10 tpm=100k parallel=5"],
    )
    assert one.client.post(CHAT, json=BODY).status_code == 200
    keys = redis.client.keys("*")
    assert keys
    # -1: never expires; -2: the settlement has just removed it.
    assert all(redis.client.pttl(key) != -1 for key in keys)
    assert KEY not in str(keys)
