"""Spend rows: one per authenticated request, right to the token, in Postgres exactly once."""

import asyncio
import contextlib
import datetime
import hashlib
import time
import uuid

import psycopg
import pytest

from support.calls import CHAT, chat, stream_events
from support.gateway import bearer
from support.load import fire, keep_sending
from support.nginx_conf import KEY, KEY_RECORD
from support.waiting import wait_until

BODY = chat("One two three", max_tokens=20, user="customer-1")
TOKENS = (3 + 3, 5)  # prompt, completion
NANO_USD = 6 * 150 + 5 * 600  # gpt-4o-mini in fixtures/prices.json


@pytest.fixture
def one(gateway, mock):
    mock.behave(tokens=5)
    return gateway()


def assert_tokens_and_cost(row):
    assert (row["prompt_tokens"], row["completion_tokens"]) == TOKENS
    assert row["cost_nano_usd"] == NANO_USD
    assert (row["input_nano_usd"], row["cached_nano_usd"], row["output_nano_usd"]) == (900, 0, 3000)
    assert row["usage_source"] == "reported"


def test_row_of_a_request(one):
    before = int(time.time() * 1000)
    response = one.client.post(CHAT, json=BODY | {"metadata": {"tags": ["blue"]}})
    row = one.wait_row()
    assert_tokens_and_cost(row)
    assert row["request_id"] == response.headers["x-llm-request-id"]
    assert uuid.UUID(row["request_id"]).version == 7
    assert float(response.headers["x-llm-cost"]) == pytest.approx(NANO_USD / 1e9, abs=1e-12)
    assert before <= row["started_at"] <= row["ended_at"] <= int(time.time() * 1000)
    assert row["key_hash"] == hashlib.sha256(KEY.encode()).hexdigest()
    expected = {
        "key_alias": "tester",
        "team": "qa",
        "user": "alice",
        "org": "acme",
        "customer": "customer-1",
        "endpoint": "chat/completions",
        "requested_model": "gpt-4o-mini",
        "model": "gpt-4o-mini",
        "deployment": "mock/gpt-4o-mini",
        "provider": "mock",
        "dialect": "openai",
        "status": 200,
        "attempts": 1,
        "stream": False,
        "aborted": False,
        "cache_hit": False,
    }
    assert {name: row[name] for name in expected} == expected
    assert row["tags"] == ["blue"]
    assert not row["error_kind"]
    assert row["held_nano_usd"] >= NANO_USD
    assert len(row["price_version"]) == 12


def test_row_of_a_stream(one):
    assert one.client.post(CHAT, json=BODY | {"stream": True}).status_code == 200
    row = one.wait_row()
    assert_tokens_and_cost(row)
    assert row["stream"] is True


def test_cached_tokens_are_cheaper(one, mock):
    usage = {"prompt_tokens": 100, "prompt_tokens_details": {"cached_tokens": 60}}
    mock.behave(tokens=5, usage=usage)
    one.client.post(CHAT, json=BODY)
    row = one.wait_row()
    assert row["cached_tokens"] == 60
    parts = row["input_nano_usd"], row["cached_nano_usd"], row["output_nano_usd"]
    assert parts == (40 * 150, 60 * 75, 5 * 600)


def test_row_of_a_refusal(gateway):
    one = gateway(keys=[KEY_RECORD | {"rpm_limit": 1}])
    assert [one.client.post(CHAT, json=BODY).status_code for _ in range(2)] == [200, 429]
    refused = next(row for row in one.wait_rows(2) if row["status"] == 429)
    assert refused["error_kind"] == "rate_limit_exceeded"
    assert (refused["cost_nano_usd"], refused["usage_source"]) == (0, "none")
    assert refused["attempts"] == 0


def test_rows_of_errors(one, mock):
    for status in (400, 500):
        mock.behave(status=status)
        one.client.post(CHAT, json=BODY)
    assert one.client.post(CHAT, json=BODY | {"model": "gpt-17"}).status_code == 404
    rows = one.wait_rows(3)
    assert {row["cost_nano_usd"] for row in rows} == {0}
    assert {400, 404} <= {row["status"] for row in rows}


def test_row_of_a_client_that_left(one, mock):
    mock.behave(tokens=20, chunk_delay_ms=50)
    with one.client.stream("POST", CHAT, json=BODY | {"stream": True}) as response:
        next(response.iter_raw())
    row = one.wait_row()
    assert row["aborted"] is True
    assert row["usage_source"] in ("counted", "held")
    assert 0 < row["cost_nano_usd"] <= row["held_nano_usd"]


def test_row_of_a_stream_that_the_provider_cut(one, mock):
    mock.behave(tokens=20, cut_after=3)
    with contextlib.suppress(Exception):
        one.client.post(CHAT, json=BODY | {"stream": True})
    row = one.wait_row()
    assert row["aborted"] is True
    assert 0 < row["cost_nano_usd"] <= row["held_nano_usd"]


def test_row_is_there_when_the_client_sees_the_end_of_a_stream(one, mock):
    mock.behave(tokens=3, end_delay_ms=5000)
    with one.client.stream("POST", CHAT, json=BODY | {"stream": True}) as response:
        for event in stream_events(response):
            if event == "[DONE]":
                one.kill_worker()
                break
    row = one.wait_row()
    assert (row["status"], row["error_kind"], row["aborted"]) == (200, "", False)
    assert row["usage_source"] == "reported"


def test_postgres_gets_every_row_once(gateway, mock, postgres):
    mock.behave(tokens=5)
    one = gateway(workers=2, reuseport=True, postgres=postgres.conninfo)
    responses = [r for _ in range(4) for r in fire(one, [BODY] * 100)]
    sent = {response.headers["x-llm-request-id"] for response in responses}
    assert len(sent) == 400
    rows = postgres.wait_rows(400)
    assert {str(row["request_id"]) for row in rows} == sent
    for row in rows:
        assert_tokens_and_cost(row)
    one.stop()  # nothing is sent twice on the way out
    assert len(postgres.rows()) == 400


def test_columns_in_postgres(gateway, mock, postgres):
    mock.behave(tokens=5, delay_ms=20)
    one = gateway(postgres=postgres.conninfo)
    before = datetime.datetime.now(datetime.UTC)
    one.client.post(CHAT, json=BODY | {"metadata": {"tags": ["a,b", '"c"']}, "user": "Ü 'x'\\"})
    [row] = postgres.wait_rows(1)
    assert row["tags"] == ["a,b", '"c"']
    assert row["customer"] == "Ü 'x'\\"
    assert (row["team"], row["org"], row["status"]) == ("qa", "acme", 200)
    slack = datetime.timedelta(seconds=1)
    assert before - slack <= row["started_at"] <= row["ended_at"]


def test_postgres_away_and_back(gateway, mock, postgres):
    mock.behave(tokens=5)
    one = gateway(workers=2, reuseport=True, postgres=postgres.conninfo)
    fire(one, [BODY] * 20)
    postgres.wait_rows(20)
    postgres.stop()
    assert {response.status_code for response in fire(one, [BODY] * 100)} == {200}
    wait_until(lambda: len(one.spool_rows()) >= 100, "the rows stand in the spool")
    postgres.start()
    fire(one, [BODY] * 10)
    rows = postgres.wait_rows(130, timeout=40)
    assert len({row["request_id"] for row in rows}) == 130


def test_rows_in_the_spool_survive_kill_9(gateway, mock, postgres):
    """Nothing was sent to Postgres yet when every worker is killed."""
    mock.behave(tokens=5)
    one = gateway(workers=2, postgres=postgres.conninfo, postgres_options="batch=1000 flush=60s")
    fire(one, [BODY] * 50)
    wait_until(lambda: len(one.spool_rows()) == 50, "the rows stand in the spool")
    assert postgres.rows() == []
    one.settings.postgres_options = "batch=1000 flush=100ms"
    for pid in one.workers():
        one.kill_worker(pid)
    one.reload()
    postgres.wait_rows(50, timeout=40)


def test_kill_9_under_load_loses_no_row(gateway, mock, postgres):
    """Whoever has a whole answer has a row."""
    mock.behave(tokens=5, delay_ms=5)
    one = gateway(workers=4, reuseport=True, postgres=postgres.conninfo)
    seen = []

    async def run():
        wanted = 10**9
        done = lambda: len(seen) >= wanted  # noqa: E731
        senders = [asyncio.create_task(keep_sending(one, BODY, done, seen)) for _ in range(16)]
        for _ in range(2):
            enough = len(seen) + 150
            while len(seen) < enough:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(one.kill_worker)
        wanted = len(seen) + 150
        await asyncio.gather(*senders)

    asyncio.run(run())
    answered = set(seen)
    assert len(answered) >= 450

    def stored():
        return {str(row["request_id"]) for row in postgres.rows("request_id")}

    wait_until(lambda: answered <= stored(), "every row in Postgres", timeout=40)
    ids = [row["request_id"] for row in postgres.rows("request_id")]
    assert len(ids) == len(set(ids))


def test_sums_of_refusals_are_written_when_a_worker_ends(gateway, postgres, mock):
    one = gateway(
        spool_options="refused=summed",
        limits=["key=* rpm=1"],
        postgres=postgres.conninfo,
        workers=2,
        reuseport=True,
    )
    refused = lambda rows: sum(row["requests"] for row in rows if row["status"] == 429)  # noqa: E731
    for end in (one.reload, one.stop):
        before = refused(postgres.rows())
        told = [answer.status_code for answer in fire(one, [BODY] * 40)].count(429)
        assert told >= 39
        assert refused(postgres.rows() + one.spool_rows()) == before  # sums cover ten seconds
        end()
        wait_until(lambda: refused(postgres.rows()) == before + told, "they are stored", timeout=5)  # noqa: B023


def test_refusals_may_be_summed(gateway, mock, postgres):
    """A job that runs into its limit again and again makes one row for each kind of refusal."""
    other_key = "sk-other"
    one = gateway(
        spool_options="refused=summed",
        keys=[{"key": KEY, "alias": "ci", "tags": ["batch"]}, {"key": other_key, "alias": "other"}],
        limits=["key=* rpm=2"],
        postgres=postgres.conninfo,
    )
    assert [one.client.post(CHAT, json=BODY | {"user": f"u{i}"}).status_code for i in range(40)] == [
        *[200] * 2,
        *[429] * 38,
    ]
    for i in range(20):
        assert one.client.post(CHAT, json=BODY | {"model": f"gpt-{i}-none"}).status_code == 404
    statuses = [one.client.post(CHAT, json=BODY, headers=bearer(other_key)).status_code for _ in range(5)]
    assert statuses == [200] * 2 + [429] * 3
    one.wait_rows(4)
    one.stop()

    rows = postgres.wait_rows(7)
    refused = {(row["key_alias"], row["error_kind"]): row for row in rows if row["status"] != 200}
    counts = {kind: row["requests"] for kind, row in refused.items()}
    assert counts == {
        ("ci", "rate_limit_exceeded"): 38,
        ("ci", "model_not_found"): 20,
        ("other", "rate_limit_exceeded"): 3,
    }
    summed = refused["ci", "rate_limit_exceeded"]
    assert (summed["model"], summed["requested_model"]) == ("gpt-4o-mini", "gpt-4o-mini")
    assert (summed["tags"], summed["customer"], summed["cost_nano_usd"]) == (["batch"], "", 0)
    assert summed["started_at"] < summed["ended_at"]
    with psycopg.connect(postgres.conninfo) as connection:
        query = "SELECT sum(requests), sum(errors) FROM llm_spend_daily WHERE key_alias = 'ci'"
        assert connection.execute(query).fetchone() == (60, 58)
        query = "SELECT sum(requests), sum(errors) FROM llm_spend_daily_tag WHERE tag = 'batch'"
        assert connection.execute(query).fetchone() == (60, 58)
