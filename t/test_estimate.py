"""What a request holds: the most that it can use, or what it is likely to use; free models nothing.

The model `output-only` costs 1000 nano-USD per output token and has 1000 of them at most; 600 are
expected.
"""

import collections

import pytest

from support.calls import CHAT, assert_openai_error, chat
from support.load import fire
from support.nginx_conf import KEY_RECORD
from support.waiting import wait_until

TOKENS = 1000
BODY = chat(model="output-only")


@pytest.fixture(params=["memory", "redis"])
def ledger(request):
    if request.param == "memory":
        return {}
    return {"redis": f"{request.getfixturevalue('redis').url} timeout=5s on_failure=deny"}


def statuses(responses):
    return collections.Counter(response.status_code for response in responses)


@pytest.mark.parametrize(
    "settings, admitted",
    [
        ({"budgets": ["key=* 0.0019usd/30d"]}, 1),
        ({"budgets": ["key=* 0.0019usd/30d estimate=bound"]}, 1),
        ({"budgets": ["key=* 0.0019usd/30d estimate=expected"]}, 3),
        ({"limits": ["key=* tpm=1950"]}, 1),
        ({"limits": ["key=* tpm=1950 estimate=expected parallel=100"]}, 3),
        ({"budgets": ["key=* 0.0019usd/30d estimate=expected", "team=* 0.0021usd/30d"]}, 2),
        ({"limits": ["key=* tpm=9k estimate=expected"], "keys": [KEY_RECORD | {"tpm_limit": 1950}]}, 3),
    ],
)
def test_how_many_at_once(gateway, mock, ledger, settings, admitted):
    mock.behave(tokens=TOKENS, delay_ms=1500)
    one = gateway(**settings, **ledger)
    assert statuses(fire(one, [BODY] * 6)) == {200: admitted, 429: 6 - admitted}
    assert mock.count() == admitted


def test_what_was_used_is_charged(gateway, mock, ledger):
    """The limit is exceeded by what the requests used above their expectation, and then it is shut."""
    mock.behave(tokens=TOKENS, delay_ms=500)
    one = gateway(budgets=["key=* 0.0019usd/30d estimate=expected"], **ledger)
    assert statuses(fire(one, [BODY] * 3)) == {200: 3}
    rows = one.wait_rows(3)
    assert [row["cost_nano_usd"] for row in rows] == [TOKENS * 1000] * 3
    refused = one.client.post(CHAT, json=BODY | {"max_tokens": 1})
    error = assert_openai_error(refused, 429, "budget_exceeded")
    assert "used or reserved: $0.003" in error["message"]


def test_nobody_knows_what_was_used(gateway, mock):
    """The charge is the most that it can have been, as ever."""
    mock.behave(gzip="force")
    one = gateway(budgets=["key=* 1usd/30d estimate=expected"])
    one.client.post(CHAT, json=BODY)
    row = one.wait_row()
    assert row["usage_source"] == "held"
    assert row["cost_nano_usd"] == row["held_nano_usd"] == TOKENS * 1000


def test_models_that_reason(gateway, mock):
    """By the price file, or by OpenAI's names."""
    mock.behave(tokens=1, delay_ms=1000)
    prices = "input_price=0 output_price=1"
    one = gateway(
        routes=["output-only mock", f"gpt-5 mock {prices}", f"plain mock {prices}"],
        budgets=["key=* 0.0119usd/30d estimate=expected"],
        http="llm_max_output * 8000;",
    )
    for model, admitted in (("gpt-5", 1), ("plain", 6)):
        responses = fire(one, [chat(model=model)] * 6)
        assert statuses(responses)[200] == admitted
        wait_until(lambda: one.client.post(CHAT, json=chat(model=model)).status_code == 200, "room")


def test_free_models_hold_nothing(gateway, mock, ledger):
    mock.behave(tokens=TOKENS, delay_ms=200)
    one = gateway(
        routes=["output-only mock", "free mock input_price=0 output_price=0"],
        budgets=["key=* 0.001usd/30d", "global 0usd/1d"],
        **ledger,
    )
    responses = fire(one, [chat(model="free")] * 5)
    assert statuses(responses) == {200: 5}
    assert {row["held_nano_usd"] for row in one.wait_rows(5)} == {0}
    assert {r.headers["x-budget-utilization"] for r in responses} == {"0.0000"}
    assert_openai_error(one.client.post(CHAT, json=BODY), 429, "budget_exceeded")


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"budgets": ["key=* 1usd/1d estimate=low"]}, 'invalid value "low" of "estimate"'),
        ({"limits": ["key=* tpm=1 estimate=low"]}, 'invalid value "low" of "estimate"'),
        ({"limits": ["key=* rpm=1 estimate=expected"]}, '"estimate=" wants "tpm="'),
    ],
)
def test_wrong_arguments(gateway, settings, message):
    one = gateway(start=False, **settings)
    one.configure()
    done = one.run_test()
    assert done.returncode != 0
    assert message in done.stderr
