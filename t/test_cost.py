"""What a call costs: prices of routes, and the gateway's own answers about them."""

import pytest

from support.calls import CHAT, assert_openai_error, chat
from support.paths import FIXTURES, ROOT
from support.tokens import chat_tokens

CALCULATE, ESTIMATE = "/v1/spend/calculate", "/v1/cost/estimate"
ALL_PRICES = f"{ROOT}/conf/model_prices.json"


def test_cost_of_a_response(gateway, mock):
    one = gateway()
    usage = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
    for body in (
        {"completion_response": {"model": "gpt-4o-mini", "usage": usage}, "model": "gpt-4o-mini"},
        {"model": "gpt-4o-mini", "prompt_tokens": 1000, "completion_tokens": 500},
    ):
        answer = one.client.post(CALCULATE, json=body)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told["cost"] == pytest.approx(1000 * 15e-8 + 500 * 60e-8, abs=1e-12)
        assert told["input_cost"] + told["output_cost"] == pytest.approx(told["cost"], abs=1e-12)
        assert (told["prompt_tokens"], told["completion_tokens"]) == (1000, 500)
        assert not told["estimated"]
    assert mock.count() == 0 and one.spool_rows() == []


def test_cost_of_a_prompt_is_counted(gateway):
    one = gateway()
    body = chat("What would this cost?", max_tokens=100)
    answer = one.client.post(ESTIMATE, json=body).json()
    tokens = chat_tokens(body["messages"])
    assert (answer["prompt_tokens"], answer["completion_tokens"]) == (tokens, 100)
    assert answer["cost"] == pytest.approx(tokens * 15e-8 + 100 * 60e-8, abs=1e-12)


def test_cost_of_what_is_not_known_is_refused(gateway):
    one = gateway()
    assert_openai_error(one.client.post(ESTIMATE, json={"model": "no-such", "input_tokens": 5}), 404)
    assert_openai_error(one.client.post(ESTIMATE, json={"model": "gpt-4o-mini"}), 400)
    assert_openai_error(one.client.post(ESTIMATE, json={"input_tokens": 5}), 400)
    bad = {"model": "gpt-4o-mini", "input_tokens": -5}
    assert "input_tokens" in assert_openai_error(one.client.post(ESTIMATE, json=bad), 400)["message"]
    assert_openai_error(one.client.post(CALCULATE, content=b"{"), 400)


def test_route_overrides_the_list_price(gateway, mock):
    mock.behave(reply="one two three", usage={"prompt_tokens": 1000, "completion_tokens": 10,
                                              "total_tokens": 1010})
    one = gateway(routes=["gpt-4o-mini mock input_price=2 output_price=30", "of-our-own mock input_price=1 output_price=1"])
    answer = one.client.post(CHAT, json=chat(max_tokens=20))
    assert float(answer.headers["x-llm-cost"]) == pytest.approx(1000 * 2e-6 + 10 * 30e-6)
    assert one.client.post(CHAT, json=chat(model="of-our-own")).status_code == 200
    rows = one.wait_rows(2)
    assert [row["cost_nano_usd"] for row in rows] == [2_300_000, 1_010_000]


def test_override_that_is_no_price_is_refused(gateway):
    one = gateway(start=False, routes=["gpt-4o-mini mock input_price=-1"])
    one.configure()
    done = one.run_test()
    assert done.returncode != 0
    assert 'invalid value "-1" of "input_price"' in done.stderr and "nginx.conf:" in done.stderr


def test_service_tier_that_answers_is_charged(gateway, mock):
    one = gateway(routes=["gpt-5-mini mock"], prices=ALL_PRICES)
    mock.behave(usage={"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100})
    price = one.client.get("/v1/model/info").json()["data"][0]["model_info"]
    assert one.client.post(CHAT, json=chat(model="gpt-5-mini", max_tokens=200)).status_code == 200
    row = one.wait_row()
    expected = 1000 * price["input_cost_per_token"] + 100 * price["output_cost_per_token"]
    assert row["cost_nano_usd"] == pytest.approx(expected * 1e9, abs=1)
    assert row["service_tier"] == "standard"
    assert row["cost_nano_usd"] <= row["held_nano_usd"]


def test_model_info_shows_prices(gateway):
    one = gateway(routes=["gpt-4o-mini mock", "gpt-4o-mini mock model=gpt-4o-mini-2024-07-18"],
                  prices=f"{FIXTURES}/prices.json unknown=1/2")
    data = one.client.get("/v1/model/info").json()["data"]
    assert [entry["model_name"] for entry in data] == ["gpt-4o-mini"] * 2
    assert data[0]["litellm_params"]["model"] == "mock/gpt-4o-mini"
    assert data[0]["model_info"]["input_cost_per_token"] == 1.5e-07
    [listed] = one.client.get("/v1/models").json()["data"]
    assert listed["model_info"]["output_cost_per_token"] == 6e-07
    assert_openai_error(one.client.post("/v1/model/info", json={}), 404)
