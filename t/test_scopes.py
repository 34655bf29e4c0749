"""Limits on what a request says of itself: its customer, tags, model, and any expression."""

import pytest

from support.calls import CHAT, assert_openai_error, chat
from support.gateway import bearer
from support.nginx_conf import KEY_RECORD, provider

TOKENS = 1000
BODY = chat(model="output-only", max_tokens=TOKENS)


@pytest.fixture(params=["memory", "redis"])
def ledger(request):
    if request.param == "memory":
        return {}
    return {"redis": f"{request.getfixturevalue('redis').url} timeout=5s on_failure=deny"}


@pytest.fixture
def ask(mock, gateway):
    """Makes a function that sends a request to a gateway with these settings: its status."""
    mock.behave(tokens=TOKENS)

    def make(**settings):
        one = gateway(**settings)

        def status(headers=None, **fields):
            ask.last = one.client.post(CHAT, json=BODY | fields, headers=headers)
            return ask.last.status_code

        ask.gateway = one
        return status

    ask = make
    return make


def test_by_expression(ask, ledger):
    status = ask(limits=['by="$llm_team:$http_x_app" rpm=1'], **ledger)
    for app in ("search", "review", "a" * 300, "a" * 299 + "b"):
        assert [status({"x-app": app}) for _ in range(2)] == [200, 429]
    error = assert_openai_error(ask.last, 429, "rate_limit_exceeded")
    assert error["param"] == "group"
    assert "aaa" not in error["message"]


def test_by_an_expression_without_a_value(ask):
    status = ask(limits=["by=$http_x_app rpm=1"])
    assert [status() for _ in range(3)] == [200] * 3


def test_customers(ask, ledger):
    status = ask(budgets=["customer=* 0.001usd/30d"], **ledger)
    for customer in ("alice", "bob"):
        assert [status(user=customer) for _ in range(2)] == [200, 429]
    error = assert_openai_error(ask.last, 429, "budget_exceeded")
    assert error["param"] == "customer"
    assert "$" not in error["message"]  # whom a request names is not always its sender
    assert [status() for _ in range(2)] == [200] * 2


def test_tags_of_key_and_request(ask):
    other = {"key": "sk-other", "alias": "other"}
    status = ask(keys=[KEY_RECORD | {"tags": ["batch"]}, other], limits=["tag=batch rpm=3", "tag=* rpm=4"])
    assert [status() for _ in range(2)] == [200] * 2
    batch = {"tags": ["batch", "night"]}
    assert [status(bearer("sk-other"), metadata=batch) for _ in range(2)] == [200, 429]
    assert [status(bearer("sk-other"), metadata={"tags": ["night"]}) for _ in range(4)] == [
        *[200] * 3,
        429,
    ]
    assert status(bearer("sk-other")) == 200


def test_too_many_tags(ask):
    status = ask(limits=["tag=* rpm=4"])
    tags = [f"tag-{i}" for i in range(30)]
    assert status(metadata={"tags": tags}) == 400
    assert_openai_error(ask.last, 400)
    assert status(metadata={"tags": tags[:20]}) == 200


def test_key_with_too_many_tags(gateway):
    record = KEY_RECORD | {"tags": [f"tag-{i}" for i in range(25)]}
    one = gateway(start=False, keys=[record], limits=["tag=* rpm=4"])
    one.configure()
    assert 'more than 24 limits apply to key "tester"' in one.run_test().stderr


def test_limits_of_more_models_than_a_request_has(ask):
    names = [f"model-{i}" for i in range(30)]
    status = ask(
        routes=[f"{name} mock model=output-only" for name in names],
        limits=[f"{scope} rpm=1" for name in names for scope in (f"key=* model={name}", f"model={name}")],
    )
    assert [status(model=names[29]) for _ in range(2)] == [200, 429]


def test_models(ask, ledger):
    status = ask(
        routes=["output-only mock", "gpt-4o-mini mock", "gpt-4 mock model=gpt-4o-mini"],
        limits=["model=output-only rpm=1", "key=* model=gpt-4* rpm=2"],
        aliases=["fast gpt-4o-mini"],
        **ledger,
    )
    assert [status() for _ in range(2)] == [200, 429]
    assert assert_openai_error(ask.last, 429)["param"] == "model"
    assert [status(model=m) for m in ("gpt-4", "fast", "gpt-4o-mini")] == [200, 200, 429]
    assert assert_openai_error(ask.last, 429)["param"] == "key"


def test_each_model_by_itself(ask):
    status = ask(limits=["model=* rpm=1"])
    assert [status(model=m) for m in ("output-only", "gpt-4o-mini", "output-only")] == [200, 200, 429]


def test_model_for_some_applications(ask):
    status = ask(http="llm_model_allow output-* by=$http_x_app search code-review;")
    assert status({"x-app": "search"}) == 200
    assert status({"x-app": "code-review"}) == 200
    for headers in ({"x-app": "searc"}, {"x-app": ""}, {}):
        assert status(headers) == 403
        assert_openai_error(ask.last, 403)
    assert status(model="gpt-4o-mini") == 200

    def listed(headers):
        models = ask.gateway.client.get("/v1/models", headers=headers).json()
        return "output-only" in [model["id"] for model in models["data"]]

    assert listed({"x-app": "search"}) and not listed({})


def test_providers(ask, mock, ledger):
    """All that may serve a call are asked; only the one that did is charged."""
    down = "down http://127.0.0.1:1/v1 dialect=openai api_key=file:provider.key"
    status = ask(
        providers=[provider("mock", mock.url), down],
        routes=["output-only down", "output-only mock backup"],
        budgets=["provider=* 0.003usd/30d"],
        limits=["provider=mock parallel=1"],
        **ledger,
    )
    assert [status() for _ in range(4)] == [200] * 3 + [429]
    error = assert_openai_error(ask.last, 429, "budget_exceeded")
    assert error["param"] == "provider"
    ask.gateway.reload(budgets=["provider=down 0.001usd/30d"])
    assert status() == 200


SECRETIVE = {
    "global": {},
    "customer=*": {"user": "alice"},
    "tag=*": {"metadata": {"tags": ["batch"]}},
    "model=output-only": {},
    "provider=mock": {},
    'by="$http_host"': {},
}


@pytest.mark.parametrize("scope", SECRETIVE)
@pytest.mark.parametrize("rate", ["rpm=7", "tpm=7k", "parallel=0"])
def test_figures_of_others_are_not_told(ask, scope, rate):
    """Only when it may be tried again."""
    status = ask(limits=[f"{scope} {rate}", "key=* rpm=1000"], budgets=[f"{scope} 9usd/30d"])
    while status(**SECRETIVE[scope]) == 200:
        assert_tells_only_the_key(ask.last)
    assert_tells_only_the_key(ask.last)
    error = assert_openai_error(ask.last, 429, "rate_limit_exceeded")
    assert error["param"] == {"by": "group"}.get(label := scope.partition("=")[0], label)
    assert "limit " not in error["message"].replace("Rate limit ", "") and "used" not in error["message"]
    if rate == "parallel=0":
        assert ask.last.headers["x-should-retry"] == "false"
    else:
        assert 1 <= int(ask.last.headers["retry-after"]) <= 65


def assert_tells_only_the_key(response):
    told = {name: value for name, value in response.headers.items() if name.startswith(("x-ratelimit-", "x-budget"))}
    assert told.pop("x-ratelimit-limit-requests") == "1000"
    assert set(told) == {"x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"}


def test_figures_of_the_keys_own_are_told(ask):
    status = ask(limits=["team=* rpm=1", "global rpm=1000"], budgets=["org=* 1usd/30d"])
    assert [status() for _ in range(2)] == [200, 429]
    assert "limit 1, used 1, requested 1" in assert_openai_error(ask.last, 429)["message"]
    assert ask.last.headers["x-ratelimit-limit-requests"] == "1"
    assert ask.last.headers["x-budget-utilization"] == "0.0010"
