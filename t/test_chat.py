"""Requests that work, over every transport and by the official SDKs."""

import json
import subprocess

import httpx
import pytest

from support.calls import CHAT, chat, stream_events, text_of
from support.gateway import bearer
from support.nginx_conf import KEY
from support.paths import NODE_DIR, TESTS, program

REPLY = "One two three four"
MESSAGES = [{"role": "user", "content": "Count, please."}]


@pytest.fixture
def ready(gateway, mock):
    mock.behave(reply=REPLY)
    return gateway(aliases=["fast gpt-4o-mini"])


@pytest.fixture(params=[1, 2], ids=["http1", "http2"])
def http_client(request, ready):
    """Over HTTP/1.1 and over HTTP/2."""
    h2 = request.param == 2
    port = ready.port_h2 if h2 else ready.port
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(
        base_url=url, http1=not h2, http2=h2, headers=bearer(KEY), timeout=30
    ) as client:
        yield client


def test_openai_sdk(ready, openai_client):
    answer = openai_client(ready).chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    assert answer.choices[0].message.content == REPLY
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, 4)


def test_openai_sdk_streamed(ready, openai_client):
    stream = openai_client(ready).chat.completions.create(
        model="gpt-4o-mini", messages=MESSAGES, stream=True
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == REPLY
    assert all(chunk.usage is None for chunk in chunks)


def test_openai_sdk_streamed_with_usage(ready, openai_client):
    *chunks, last = openai_client(ready).chat.completions.create(
        model="gpt-4o-mini",
        messages=MESSAGES,
        stream=True,
        stream_options={"include_usage": True},
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == REPLY
    assert last.choices == []
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (5, 4)


def node_chat(gateway, **request):
    script = TESTS / "support/chat.mjs"
    body = json.dumps({"model": "gpt-4o-mini", "messages": MESSAGES} | request)
    command = [program("node"), script, gateway.base_url, KEY, body]
    done = subprocess.run(command, cwd=NODE_DIR, stdout=subprocess.PIPE, timeout=60, check=True)
    return json.loads(done.stdout)


def test_node_sdk(ready):
    seen = node_chat(ready)
    assert seen["text"] == REPLY
    assert seen["usage"]["total_tokens"] == 9


def test_node_sdk_streamed(ready):
    seen = node_chat(ready, stream=True)
    assert (seen["text"], seen["usage"]) == (REPLY, None)
    seen = node_chat(ready, stream=True, stream_options={"include_usage": True})
    assert (seen["text"], seen["usage"]["total_tokens"]) == (REPLY, 9)


def test_node_sdk_sees_errors(ready):
    error = node_chat(ready, model="gpt-17")["error"]
    assert (error["status"], error["code"]) == (404, "model_not_found")


def test_whole_answer(http_client):
    response = http_client.post(CHAT, json=chat())
    assert response.status_code == 200
    assert response.json()["choices"][0]["message"]["content"] == REPLY
    assert response.headers["x-llm-request-id"]
    assert response.headers["x-llm-model"] == "gpt-4o-mini"
    assert response.headers["x-llm-provider"] == "mock"


def test_streamed_answer(http_client):
    with http_client.stream("POST", CHAT, json=chat(stream=True)) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        events = list(stream_events(response))
    assert text_of(events) == REPLY
    assert events[-1] == "[DONE]"


def pieces_of(body, size):
    data = json.dumps(body).encode()
    return (data[start : start + size] for start in range(0, len(data), size))


def test_chunked_upload(http_client, mock):
    body = chat("Ünïcode ✓ text", max_tokens=7)
    assert http_client.post(CHAT, content=pieces_of(body, 5)).status_code == 200
    [request] = mock.requests()
    assert request["body"]["messages"] == body["messages"]
    assert "transfer-encoding" not in request["headers"]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_large_body(http_client, mock, chunked):
    """300 KB: nginx keeps it in a temporary file."""
    body = chat("word " * 60_000, max_tokens=7)
    content = pieces_of(body, 10_000) if chunked else json.dumps(body)
    response = http_client.post(CHAT, content=content)
    assert response.json()["usage"]["prompt_tokens"] == 60_003
    [request] = mock.requests()
    assert request["body"]["messages"] == body["messages"]


def test_bytes_outside_the_edit_stay(ready, mock):
    """Odd spacing, escapes, numbers and unknown fields reach the provider as they were sent."""
    body = (
        '{ "unknown" : [1.0, 1e2,null , {"model":"inner"}],\n\t"mod\\u0065l":"gpt-4o-mini",'
        '"x":"\\u00e9\\/", "max_tokens" : 7, '
        '"messages" :[{"role":"user","content":"a\\u0301 \\ud83d\\ude00"}] }'
    )
    assert ready.client.post(CHAT, content=body).status_code == 200
    [request] = mock.requests()
    assert request["body"] == json.loads(body)
    assert int(request["headers"]["content-length"]) == len(body)


def test_alias(ready, mock):
    response = ready.client.post(CHAT, json=chat(model="fast"))
    assert response.headers["x-llm-model"] == "gpt-4o-mini"
    assert mock.requests()[0]["body"]["model"] == "gpt-4o-mini"
    row = ready.wait_row()
    assert (row["requested_model"], row["model"]) == ("fast", "gpt-4o-mini")


def test_the_deployments_own_model_name(gateway, mock):
    one = gateway(routes=["chat mock model=gpt-4o-mini"])
    assert one.client.post(CHAT, json=chat(model="chat")).status_code == 200
    assert mock.requests()[0]["body"]["model"] == "gpt-4o-mini"
    row = one.wait_row()
    assert (row["model"], row["deployment"]) == ("chat", "mock/gpt-4o-mini")


def test_weights(gateway, mock):
    one = gateway(
        routes=["chat mock model=gpt-4o-mini weight=3", "chat mock model=output-only weight=1"]
    )
    for _ in range(80):
        one.client.post(CHAT, json=chat(model="chat", max_tokens=1))
    first = sum(request["body"]["model"] == "gpt-4o-mini" for request in mock.requests())
    assert 40 <= first <= 76  # 60 expected; outside, the chance is below 1 in 100 000


def test_completions(ready, openai_client):
    client = openai_client(ready)
    call = {"model": "gpt-3.5-turbo-instruct", "prompt": "Count to four", "max_tokens": 8}
    answer = client.completions.create(**call)
    assert answer.choices[0].text == REPLY
    assert answer.usage.prompt_tokens == 3
    stream = client.completions.create(stream=True, **call)
    assert "".join(chunk.choices[0].text for chunk in stream) == REPLY
    rows = ready.wait_rows(2)
    assert {row["endpoint"] for row in rows} == {"completions"}
    assert {row["completion_tokens"] for row in rows} == {4}


def test_embeddings(ready, openai_client):
    call = {"model": "text-embedding-3-small", "input": ["one two", "three"]}
    answer = openai_client(ready).embeddings.create(**call)
    assert len(answer.data) == 2
    assert answer.usage.prompt_tokens == 3
    row = ready.wait_row()
    assert (row["endpoint"], row["prompt_tokens"], row["completion_tokens"]) == ("embeddings", 3, 0)
    assert row["cost_nano_usd"] == 3 * 20


def test_the_clients_headers_are_not_sent_upstream(ready, mock):
    headers = {"Cookie": "session=1", "x-api-key": KEY, "api-key": KEY}
    ready.client.post(CHAT, json=chat(), headers=headers)
    [request] = mock.requests()
    assert "cookie" not in request["headers"]
    assert KEY not in json.dumps(request["headers"])


def test_bound_of_the_operator(gateway, mock):
    """In the field that the model takes, and no more than the client asks for."""
    prices = "input_price=1 output_price=1"
    one = gateway(
        routes=[f"llama mock {prices}", f"gpt-5 mock {prices}", f"mini mock model=eu/o4-mini {prices}"],
        http="llm_max_output * 50 default=20;",
    )
    for model, field in (
        ("llama", "max_tokens"),
        ("gpt-5", "max_completion_tokens"),
        ("mini", "max_completion_tokens"),
    ):
        for asked, sent in (({}, 20), ({field: 100}, 50), ({field: 5}, 5)):
            assert one.client.post(CHAT, json=chat(model=model, **asked)).status_code == 200
            body = mock.requests()[-1]["body"]
            assert {name: body[name] for name in body if name.startswith("max_")} == {field: sent}
