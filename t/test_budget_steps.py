"""What budgets do before they are used up, and instead of refusing.

The model `output-only` costs 1000 nano-USD per output token, `cheap` 100, `free` nothing; each
answer has exactly max_tokens.
"""

import concurrent.futures
import hashlib
import json
import random
import signal
import socket
import time

import pytest

from support.calls import CHAT, assert_openai_error, chat
from support.gateway import bearer
from support.nginx_conf import KEY, KEY_RECORD
from support.redis_state import budget, open_holds, slots
from support.waiting import wait_until

TOKENS = 1000
ROUTES = [
    "output-only mock",
    "cheap mock input_price=0 output_price=0.1",
    "cheaper mock input_price=0 output_price=0.05",
    "free mock input_price=0 output_price=0",
    "dear mock input_price=0 output_price=1000000",
]
BODY = chat(model="output-only", max_tokens=TOKENS)
DECISION = "add_header x-decision $llm_decision always;"


BOTH_LEDGERS = pytest.mark.parametrize("stepped", ["memory", "redis"], indirect=True)


@pytest.fixture
def stepped(request, gateway, mock):
    """Makes a gateway with these budgets, counting in shared memory, or in Redis if told to."""
    mock.behave(tokens=TOKENS)
    settings = {}
    if getattr(request, "param", "memory") == "redis":
        settings["redis"] = f"{request.getfixturevalue('redis').url} timeout=5s on_failure=deny"

    def make(*budgets, **others):
        return gateway(routes=ROUTES, budgets=list(budgets), server=DECISION, **settings, **others)

    return make


def ask(one, headers=None, **fields):
    return one.client.post(CHAT, json=BODY | fields, headers=headers)


def models(one, count, headers=None):
    """Which models answered so many requests, one after the other; None: refused."""
    answers = [ask(one, headers) for _ in range(count)]
    return [r.headers["x-llm-model"] if r.status_code == 200 else None for r in answers]


@BOTH_LEDGERS
def test_downgrade_from_a_share_of_the_budget_on(stepped, mock):
    one = stepped("team=* 0.01usd/30d soft=80% over=downgrade:cheap")
    assert models(one, 8) == ["output-only"] * 8
    response = ask(one)
    assert response.headers["x-model-downgraded"] == "true"
    assert response.headers["x-llm-model"] == "cheap"
    assert response.headers["x-decision"] == "downgraded"
    assert mock.requests()[-1]["body"]["model"] == "cheap"
    assert models(one, 19) == ["cheap"] * 19
    error = assert_openai_error(ask(one), 429, "budget_exceeded")
    assert error["param"] == "team"
    rows = one.wait_rows(29)
    assert sum(row["cost_nano_usd"] for row in rows) == 10_000_000
    downgraded = [row for row in rows if row["model"] == "cheap"]
    assert {row["requested_model"] for row in downgraded} == {"output-only"}
    assert {row["decision"] for row in downgraded if row["status"] == 200} == {"downgraded"}


@BOTH_LEDGERS
def test_steps_one_after_the_other(stepped):
    one = stepped(
        "team=* 0.01usd/30d at=50%:downgrade:cheap at=60%:downgrade:cheaper at=61%:reject"
    )
    assert models(one, 18) == ["output-only"] * 5 + ["cheap"] * 10 + ["cheaper"] * 2 + [None]


def test_expressions_follow_the_downgrade(stepped):
    one = stepped("team=* 0.001usd/30d over=downgrade:free", limits=["by=$llm_model rpm=2"])
    assert models(one, 4) == ["output-only", "free", "free", None]


@BOTH_LEDGERS
@pytest.mark.parametrize(
    "volatile, answers",
    [("volatile;", ["output-only", "free", "free", None]), ("", ["output-only", "free", None, None])],
)
def test_a_map_of_the_model_is_to_be_volatile(stepped, volatile, answers):
    """nginx keeps a map's first value for the rest of the request: of the model before."""
    one = stepped(
        "team=* 0.001usd/30d over=downgrade:free",
        limits=["by=$group rpm=2"],
        http=f"map $llm_model $group {{ {volatile} default group-of-$llm_model; }}",
    )
    assert models(one, 4) == answers


def test_a_map_of_the_caller_and_a_set_of_it(gateway, mock):
    """`set` is evaluated before the key is known, a map when the limit asks for it."""
    one = gateway(
        limits=["by=$mapped rpm=2", "by=$as_set rpm=1"],
        http="map $llm_team $mapped { qa group-qa; }",
        proxy={"set": "$as_set $llm_team"},
    )
    answers = [one.client.post(CHAT, json=chat()) for _ in range(3)]
    assert [r.status_code for r in answers] == [200, 200, 429]
    assert_openai_error(answers[2], 429, "rate_limit_exceeded")


def test_free_model_of_an_overdrawn_budget(stepped):
    one = stepped("team=* 1usd/30d")
    assert models(one, 2) == ["output-only"] * 2
    one.reload(budgets=["team=* 0.001usd/30d over=downgrade:free"])
    assert models(one, 2) == ["free"] * 2
    one.reload(http="llm_enforce shadow;")
    assert ask(one, model="free").headers["x-decision"] == "admitted"


def leave_after(one, seconds, customer):
    """Asks with a prompt that takes milliseconds to count, and hangs up."""
    text = "All work and no play makes Jack a dull boy. " * 10_000
    fields = {"model": "output-only", "max_tokens": TOKENS, "user": customer}
    body = json.dumps(chat(text, metadata={"tags": ["a", "b"]}, **fields)).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    with socket.create_connection(("127.0.0.1", one.port), timeout=20) as client:
        client.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        time.sleep(seconds)


def test_clients_that_leave_on_the_way_to_a_downgrade(gateway, mock, redis):
    """Between any two of: counted, denied, counted again, admitted, sent, answered."""
    mock.behave(tokens=TOKENS, delay_ms=30)
    one = gateway(
        routes=ROUTES,
        redis=f"{redis.url} timeout=5s on_failure=deny",
        budgets=["customer=* 0.0005usd/30d over=downgrade:cheap", "team=* 1usd/30d"],
        limits=["key=* parallel=100", "tag=* rpm=1000", "by=$http_host rpm=1000"],
    )
    chance = random.Random(3)
    points = [0.004 + 0.12 * chance.random() for _ in range(200)]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda i: leave_after(one, points[i], f"customer-{i}"), range(len(points))))
    rows = one.wait_rows(len(points))
    assert {row["model"] for row in rows} >= {"output-only", "cheap"}
    assert {row["attempts"] for row in rows} == {0, 1}
    wait_until(lambda: not open_holds(redis.client), "no hold is left")
    charged = {row["customer"]: row["cost_nano_usd"] for row in rows}
    assert set(charged.values()) == {0, 100 * TOKENS}
    assert budget(redis.client, "team:qa:usd:30d") == sum(charged.values())
    for customer in filter(None, charged):
        assert budget(redis.client, f"customer:{customer}:usd:30d") == charged[customer]
    key = hashlib.sha256(KEY.encode()).hexdigest()[:16]
    assert not any(slots(redis.client, f"key:{key}:parallel").values())


def test_client_may_insist_on_the_model(stepped):
    one = stepped("team=* 0.01usd/30d at=10%:downgrade:cheap")
    insists = {"x-require-model": "true"}
    assert models(one, 11, insists) == ["output-only"] * 10 + [None]
    assert "x-model-downgraded" not in ask(one, insists).headers


def test_model_asked_for_is_the_downgrade(stepped):
    one = stepped("team=* 0.01usd/30d at=1%:downgrade:cheap")
    assert "x-model-downgraded" not in ask(one, model="cheap").headers


def test_downgrade_to_what_the_key_may_not_use(stepped):
    record = KEY_RECORD | {"models": ["output-only"]}
    one = stepped("team=* 0.01usd/30d at=10%:downgrade:cheap", keys=[record])
    assert models(one, 11) == ["output-only"] * 10 + [None]


def test_downgrade_to_what_the_key_may_use_by_its_alias(stepped):
    record = KEY_RECORD | {"models": ["output-only", "thrifty"]}
    one = stepped(
        "team=* 0.002usd/30d at=50%:downgrade:thrifty", keys=[record], aliases=["thrifty cheap"]
    )
    assert models(one, 2) == ["output-only", "cheap"]


@BOTH_LEDGERS
def test_downgrade_whichever_limit_denies_first(stepped):
    """The team is beyond its share: that the key's budget denies too changes nothing."""
    one = stepped(
        "key=* 0.0015usd/30d", "team=* 0.01usd/30d at=10%:downgrade:cheap", limits=["key=* rpm=7"]
    )
    assert models(one, 7) == ["output-only", *["cheap"] * 5, None]


def test_free_model_when_the_budget_is_used_up(stepped):
    one = stepped("team=* 0.002usd/30d over=downgrade:free")
    assert models(one, 5) == ["output-only"] * 2 + ["free"] * 3


def test_two_budgets_that_send_each_other_back(stepped):
    one = stepped(
        "team=* 0.002usd/30d at=50%:downgrade:cheap",
        "global model=cheap 0.002usd/30d at=1%:downgrade:output-only",
    )
    assert models(one, 2) == ["output-only", "cheap"]


def test_alert(stepped):
    one = stepped("key=* 0.01usd/30d soft=50% at=90%:alert")
    assert models(one, 4) == ["output-only"] * 4
    assert "has come to" not in one.error_log
    assert models(one, 7) == ["output-only"] * 6 + [None]
    alerts = [line for line in one.error_log.splitlines() if "has come to" in line]
    assert len(alerts) == 2 and "[warn]" in alerts[0]
    assert "has come to $0.005: $0.005 of $0.01 used or reserved" in alerts[0]
    assert "has come to $0.009" in alerts[1]


def test_alert_of_a_record_without_a_budget(stepped):
    one = stepped(keys=[KEY_RECORD | {"soft_budget": 0.001}])
    response = ask(one)
    assert "x-budget-utilization" not in response.headers
    assert "has come to $0.001: $0.001 used or reserved" in one.error_log


def test_no_alert_before_anything_is_used(stepped):
    one = stepped("key=* 0usd/30d soft=50%")
    assert ask(one).status_code == 429
    assert "has come to" not in one.error_log


def test_soft_budget_only_counts(stepped):
    one = stepped("key=* 0.002usd/30d over=allow")
    assert models(one, 4) == ["output-only"] * 4
    assert ask(one).headers["x-budget-utilization"] == "2.5000"


@BOTH_LEDGERS
def test_shadow_refuses_nothing(stepped):
    one = stepped("team=* 0.002usd/30d", limits=["key=* rpm=3"], http="llm_enforce shadow;")
    answers = [ask(one) for _ in range(4)]
    assert [r.status_code for r in answers] == [200] * 4
    assert [r.headers["x-decision"] for r in answers] == ["admitted"] * 2 + [
        "shadow_budget_exceeded"
    ] * 2
    rows = one.wait_rows(4)
    assert sum(row["cost_nano_usd"] for row in rows) == 4_000_000
    assert [row["decision"] for row in rows].count("shadow_budget_exceeded") == 2
    one.reload(http="")
    assert ask(one).status_code == 429


def test_shadow_without_a_ledger(stepped, redis):
    """What cannot be counted goes through, and says so."""
    address = f"{redis.url} timeout=100ms on_failure=deny"
    one = stepped("team=* 1usd/30d", redis=address, http="llm_enforce shadow;")
    redis.signal(signal.SIGSTOP)
    try:
        response = ask(one)
    finally:
        redis.signal(signal.SIGCONT)
    assert response.status_code == 200
    assert response.headers["x-decision"] == "shadow_service_unavailable"


def test_shadow_of_a_rate(gateway, mock):
    one = gateway(limits=["key=* rpm=1"], server=DECISION + "llm_enforce shadow;")
    answers = [one.client.post(CHAT, json=chat()) for _ in range(2)]
    assert answers[1].headers["x-decision"] == "shadow_rate_limit_exceeded"
    assert answers[1].headers["x-ratelimit-remaining-requests"] == "0"


@pytest.mark.parametrize(
    "asked, target, sent",
    [
        ({"max_tokens": 9}, "gpt-5-nano", {"max_completion_tokens": 9}),
        ({"max_completion_tokens": 9}, "llama", {"max_tokens": 9}),
        ({"max_tokens": 9}, "llama", {"max_tokens": 9}),
        ({"max_tokens": 9000}, "gpt-5-nano", {"max_completion_tokens": 100}),
        ({}, "gpt-5-nano", {"max_completion_tokens": 100}),
    ],
)
def test_bound_of_a_downgraded_request(gateway, mock, asked, target, sent):
    """It moves to the field that the model takes."""
    prices = "input_price=1 output_price=1"
    one = gateway(
        routes=[f"{model} mock {prices}" for model in ("dear", "gpt-5-nano", "llama")],
        budgets=[f"team=* 1usd/30d at=1%:downgrade:{target}"],
        http="llm_max_output * 100;",
    )
    prompt = "word " * 11_000  # more than a cent
    assert one.client.post(CHAT, json=chat(prompt, model="dear", **asked)).status_code == 200
    body = mock.requests()[-1]["body"]
    assert body["model"] == target
    assert {name: body[name] for name in body if name.startswith("max_")} == sent


def test_reserved_tokens_follow_the_cheaper_model(stepped, mock):
    """The hold of a downgraded request is that of the model which serves it."""
    one = stepped("team=* 0.01usd/30d at=5%:downgrade:cheap", limits=["key=* parallel=20"])
    assert models(one, 3) == ["cheap"] * 3
    wait_until(lambda: len(one.spool_rows()) == 3, "every row is there")
    assert {row["held_nano_usd"] for row in one.spool_rows()} == {100_000}


def test_refused_after_a_downgrade(stepped):
    """What the first model's limits said is not told of the second one's."""
    tags = [f"tag-{i}" for i in range(24)]
    one = stepped(
        "team=* 0usd/30d over=downgrade:cheap", limits=["tag=* model=cheap rpm=7"], keys=[KEY_RECORD]
    )
    response = ask(one, metadata={"tags": tags})
    assert_openai_error(response, 400)
    told = [name for name in response.headers if name.startswith(("x-ratelimit", "x-budget"))]
    assert told == []


def test_shadow_of_what_would_never_fit(stepped):
    """A hold beyond the largest limit that there is: the ledger takes it in no case."""
    one = stepped("team=* 1usd/30d", http="llm_enforce shadow;")
    response = ask(one, model="dear", max_tokens=10**9)
    assert response.status_code == 200
    assert response.headers["x-decision"] == "shadow_budget_exceeded"


def test_customers_key_of_another_team(stepped):
    other = {"key": "sk-other", "alias": "other", "team": "ops"}
    one = stepped("team=* 0.002usd/30d at=50%:downgrade:cheap", keys=[KEY_RECORD, other])
    assert models(one, 2) == ["output-only", "cheap"]
    assert models(one, 1, bearer("sk-other")) == ["output-only"]
