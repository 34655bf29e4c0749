"""Requests that the tests make, and what is said about answers."""

import json

from support.nginx_conf import KEY, PROVIDER_SECRET

CHAT = "/v1/chat/completions"


def chat(text="Say something.", model="gpt-4o-mini", **fields):
    """The body of a chat completion."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


def assert_openai_error(response, status, code=None):
    """The answer is an error exactly as OpenAI's API shapes it; returns its inner object."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"].split(";")[0] == "application/json"
    body = response.json()
    assert set(body) == {"error"}
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str) and error["message"]
    assert isinstance(error["type"], str) and error["type"]
    for name in ("param", "code"):
        assert error[name] is None or (isinstance(error[name], str) and error[name])
    assert_tells_no_secret(response.text)
    if code:
        assert error["code"] == code
    return error


def assert_anthropic_error(response, status, kind):
    assert response.status_code == status, response.text
    assert response.headers["content-type"].split(";")[0] == "application/json"
    body = response.json()
    assert set(body) == {"type", "error"} and body["type"] == "error"
    assert set(body["error"]) == {"type", "message"}
    assert body["error"]["type"] == kind
    assert body["error"]["message"]
    assert_tells_no_secret(response.text)


def assert_tells_no_secret(text):
    for secret in (KEY, PROVIDER_SECRET, "127.0.0.1"):
        assert secret not in text


def stream_events(response):
    """The data of every event of an httpx stream; the last is "[DONE]"."""
    for line in response.iter_lines():
        if line.startswith("data: "):
            data = line.removeprefix("data: ")
            yield data if data == "[DONE]" else json.loads(data)


def text_of(events):
    """The text of the first choice of a chat stream's events."""
    pieces = []
    for event in events:
        if event != "[DONE]" and event["choices"] and event["choices"][0]["index"] == 0:
            pieces.append(event["choices"][0]["delta"].get("content") or "")
    return "".join(pieces)
