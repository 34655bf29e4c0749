"""Prompts are counted before they leave: exactly, and without holding up anyone."""

import json
import socket
import threading

import pytest

from support.calls import CHAT, assert_openai_error, chat
from support.load import fire
from support.nginx_conf import provider
from support.paths import FIXTURES
from support.tokens import chat_tokens, qwen_reference, text_tokens
from support.waiting import wait_until

SENT = {"proxy_set_header X-Prompt-Tokens": "$llm_prompt_tokens"}
COUNTER = "/v1/utils/token_counter"
LONG = ("It was the best of times, it was the worst of times; 狂気の時代 — «безумие» 🎠.\n" * 12000)[:1_000_000]

CONVERSATIONS = [
    [{"role": "user", "content": "Hello!"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "  What's 2+2?\n\n"}],
    [{"role": "user", "name": "alice", "content": "naïve 中文 \U0001f468‍\U0001f469‍\U0001f467 \"quoted\"\t\\ / <|endoftext|>"}],
    [{"role": "user", "content": ""}],
]


@pytest.mark.parametrize("messages", CONVERSATIONS)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_count_is_known_before_the_request_leaves(gateway, mock, messages, ascii_only):
    one = gateway(proxy=SENT)
    body = json.dumps({"model": "gpt-4o-mini", "messages": messages}, ensure_ascii=ascii_only)
    assert one.client.post(CHAT, content=body).status_code == 200
    [request] = mock.requests()
    assert int(request["headers"]["x-prompt-tokens"]) == chat_tokens(messages)


def test_counts_by_the_deployments_own_encoding(gateway, mock):
    one = gateway(proxy=SENT, routes=["any mock model=gpt-4", "other mock model=gpt-4o"],
                  prices=f"{FIXTURES}/prices.json unknown=free")
    text = "Größenordnung 中文测试 один два"
    for model, encoding in (("any", "cl100k_base"), ("other", "o200k_base")):
        assert one.client.post(CHAT, json=chat(text, model)).status_code == 200
        sent = mock.requests()[-1]["headers"]["x-prompt-tokens"]
        assert int(sent) == chat_tokens(chat(text)["messages"], encoding)


def test_deployment_of_an_unknown_name_counts_like_its_logical_model(gateway, mock):
    one = gateway(routes=["gpt-4 mock model=eu-deployment-7"], prices=f"{FIXTURES}/prices.json unknown=free")
    body = chat("Größenordnung 中文测试 один два", "gpt-4")
    answer = one.client.post(COUNTER, json=body).json()
    assert answer["total_tokens"] == chat_tokens(body["messages"], "cl100k_base")
    assert not answer["estimated"]


def test_qwen_counts_by_its_own_vocabulary(gateway):
    one = gateway(routes=["local mock model=Qwen/Qwen3-8B"], prices=f"{FIXTURES}/prices.json unknown=free")

    def count(text):
        answer = one.client.post(COUNTER, json={"model": "local", "prompt": text}).json()
        return answer["total_tokens"], answer["estimated"]

    text = "Größenordnung 中文测试 один два 12345"
    assert count(text) == (len(qwen_reference().encode(text)), False)
    assert count(text + " e\u0301")[1]  # which Qwen normalizes


def test_hold_is_exact(gateway):
    body = chat("Tell me a story, please.", max_tokens=50)
    needed = chat_tokens(body["messages"]) + 50
    assert gateway(limits=[f"key=* tpm={needed}"]).client.post(CHAT, json=body).status_code == 200
    refused = gateway(limits=[f"key=* tpm={needed - 1}"]).client.post(CHAT, json=body)
    assert_openai_error(refused, 429, "rate_limit_exceeded")


def test_prompt_far_above_the_limit_is_refused(gateway, mock):
    one = gateway(limits=["key=* tpm=1000"])
    assert_openai_error(one.client.post(CHAT, json=chat(LONG)), 429, "rate_limit_exceeded")
    assert mock.count() == 0
    assert one.wait_row()["status"] == 429


def test_long_prompts_are_counted_in_turns(gateway, mock):
    one = gateway(proxy=SENT)
    tokens = chat_tokens(chat(LONG)["messages"])
    small = chat_tokens(chat("Hi")["messages"])
    answers = fire(one, [chat(LONG), chat("Hi"), chat(LONG), chat("Hi"), chat(LONG)])
    assert [answer.status_code for answer in answers] == [200] * 5
    sent = sorted(int(request["headers"]["x-prompt-tokens"]) for request in mock.requests())
    assert sent == [small] * 2 + [tokens] * 3


def test_a_worker_that_is_told_to_quit_counts_on(gateway, mock):
    one = gateway(proxy=SENT)
    answers = []
    bodies = [chat(LONG)] * 8
    thread = threading.Thread(target=lambda: answers.extend(fire(one, bodies)))
    thread.start()
    wait_until(lambda: mock.count() > 0, "the first of them is counted")
    one.stop()
    thread.join()
    assert [answer.status_code for answer in answers] == [200] * len(bodies)


def test_client_that_leaves_while_its_prompt_is_counted(gateway):
    one = gateway()
    body = json.dumps(chat(LONG)).encode()
    head = (f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization: {one.client.headers['authorization']}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode()
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", one.port)) as connection:
            connection.sendall(head + body)
    rows = one.wait_rows(20)
    assert all(row["status"] in (499, 200) for row in rows)
    assert one.client.post(CHAT, json=chat()).status_code == 200


def test_token_counter(gateway, mock):
    one = gateway(aliases=["small gpt-4o-mini"])
    text = "How many tokens are these, and 这些呢?"
    messages = chat(text)["messages"]
    for body, tokens in (
        ({"messages": messages}, chat_tokens(messages)),
        ({"prompt": text}, text_tokens(text)),
        ({"input": [text, "two"]}, text_tokens(text) + text_tokens("two")),
    ):
        answer = one.client.post(COUNTER, json={"model": "small"} | body)
        assert answer.status_code == 200
        assert answer.json() == {
            "total_tokens": tokens,
            "request_model": "small",
            "model_used": "gpt-4o-mini",
            "tokenizer_type": "openai_tokenizer",
            "estimated": False,
        }
    assert mock.count() == 0
    assert one.spool_rows() == []


def test_token_counter_says_what_is_an_estimate(gateway, mock):
    one = gateway(routes=["claude mock model=claude-sonnet-4-5"], prices=f"{FIXTURES}/prices.json unknown=free",
                  providers=[provider("mock", mock.url)])
    answer = one.client.post(COUNTER, json=chat("Hello there", "claude")).json()
    assert answer["estimated"] and answer["total_tokens"] > 0


def test_token_counter_refuses_what_it_cannot_count(gateway):
    one = gateway()
    assert_openai_error(one.client.post(COUNTER, json=chat(model="no-such")), 404)
    assert_openai_error(one.client.post(COUNTER, json={"model": "gpt-4o-mini"}), 400)
    assert_openai_error(one.client.post(COUNTER, content=b"{"), 400)
    assert_openai_error(
        one.client.post(COUNTER, json=chat(), headers={"Authorization": "Bearer no"}), 401
    )
    assert_openai_error(one.client.get(COUNTER), 404)
