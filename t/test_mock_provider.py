"""The mock provider itself, by the SDKs: what the other tests stand on."""

import asyncio
import time

import anthropic
import httpx
import openai
import pytest

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi there, you"},
]
PROMPT_TOKENS = 2 + 3 + 2 * 3


@pytest.fixture
def client(mock):
    with openai.OpenAI(base_url=mock.url + "/v1", api_key="sk-any", max_retries=0) as made:
        yield made


def test_chat_completion(mock, client):
    mock.behave(reply="One two three")
    answer = client.chat.completions.create(model="m", messages=MESSAGES)
    assert answer.choices[0].message.content == "One two three"
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (PROMPT_TOKENS, 3)
    [request] = mock.requests()
    assert (request["method"], request["path"]) == ("POST", "/v1/chat/completions")
    assert request["headers"]["authorization"] == "Bearer sk-any"
    assert request["body"]["messages"] == MESSAGES


def test_streamed_with_usage(mock, client):
    mock.behave(reply="One two three")
    options = {"include_usage": True}
    stream = client.chat.completions.create(
        model="m", messages=MESSAGES, stream=True, stream_options=options, max_tokens=2, n=2
    )
    *chunks, last = stream
    assert last.choices == []
    assert last.usage.completion_tokens == 4
    texts = {0: "", 1: ""}
    finished = {}
    for chunk in chunks:
        [choice] = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        finished[choice.index] = choice.finish_reason or finished.get(choice.index)
    assert texts == {0: "One two", 1: "One two"}
    assert finished == {0: "length", 1: "length"}


def test_streamed_without_usage(client):
    stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    assert all(chunk.choices and chunk.usage is None for chunk in stream)


def test_completions(mock, client):
    mock.behave(tokens=5)
    answer = client.completions.create(model="m", prompt=["a b", "c"], n=2, max_tokens=4)
    assert len(answer.choices) == 4
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 16)
    stream = client.completions.create(model="m", prompt="a b", stream=True)
    assert len("".join(chunk.choices[0].text for chunk in stream).split()) == 5


def test_embeddings(client):
    answer = client.embeddings.create(model="m", input=["a b", "c"], dimensions=4)
    assert [len(item.embedding) for item in answer.data] == [4, 4]
    assert answer.data[1].embedding[:2] == [2.0, 1.0]
    assert answer.usage.prompt_tokens == 3
    assert client.embeddings.create(model="m", input=[1, 2, 3]).usage.prompt_tokens == 3


def test_models(client):
    assert "gpt-4o-mini" in [model.id for model in client.models.list()]


def test_anthropic_messages(mock):
    mock.behave(reply="One two three")
    call = {"model": "m", "max_tokens": 2, "messages": [{"role": "user", "content": "Hi there"}]}
    with anthropic.Anthropic(base_url=mock.url, api_key="sk-any", max_retries=0) as client:
        answer = client.messages.create(**call)
        assert answer.content[0].text == "One two"
        assert answer.stop_reason == "max_tokens"
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (5, 2)
        with client.messages.stream(**call) as stream:
            assert "".join(stream.text_stream) == "One two"
            assert stream.get_final_message().usage.output_tokens == 2


@pytest.mark.parametrize("place", ["message", "header", "behaviour"])
def test_controls_are_taken_from_anywhere(mock, client, place):
    text = 'Please mock:{"status": 429, "retry_after": 7} now' if place == "message" else "Hi"
    headers = {"X-Mock": '{"status": 429, "retry_after": 7}'} if place == "header" else {}
    if place == "behaviour":
        mock.behave(status=429, retry_after=7)
    with pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": text}], extra_headers=headers
        )
    assert refused.value.code == "mock_429"
    assert refused.value.response.headers["retry-after"] == "7"


def post(mock, **fields):
    body = {"model": "m", "messages": MESSAGES} | fields
    return httpx.post(mock.url + "/v1/chat/completions", json=body, timeout=10)


def test_usage_override_and_omission(mock):
    mock.behave(usage={"completion_tokens": 77}, prompt_tokens=5)
    assert post(mock).json()["usage"]["completion_tokens"] == 77
    assert post(mock).json()["usage"]["prompt_tokens"] == 5
    mock.behave(no_usage=1)
    assert "usage" not in post(mock).json()


def test_garbage_cut_and_hang(mock):
    mock.behave(garbage=1)
    assert not post(mock).text.startswith("{")
    mock.behave(cut_after=0)
    with pytest.raises(httpx.TransportError):
        post(mock)
    mock.behave(cut_after=2)
    with pytest.raises(httpx.TransportError):
        post(mock, stream=True)
    assert [request["aborted"] for request in mock.requests()] == [False, True, True]
    mock.behave(hang=1)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(mock.url + "/v1/completions", json={"model": "m", "prompt": "x"}, timeout=0.3)


def test_split_and_gzip_change_no_byte(mock):
    plain = post(mock, stream=True).content
    for controls in ({"split": 1}, {"split": 7}, {"gzip": 1}, {"gzip": "force"}):
        mock.behave(**controls)
        response = post(mock, stream=True)
        assert response.content == plain
        assert ("content-encoding" in response.headers) == ("gzip" in controls)


def test_paces_the_stream_and_says_when_it_sent(mock):
    mock.behave(reply="a b c", chunk_delay_ms=50, delay_ms=50)
    started = time.time()
    post(mock, stream=True)
    [request] = mock.requests()
    sent = request["sent"]  # role, three deltas, finish, [DONE]
    assert len(sent) == 6
    assert sent[0] >= started + 0.05
    assert all(later - earlier >= 0.045 for earlier, later in zip(sent[:3], sent[1:4], strict=True))


def test_stands_two_hundred_at_once(mock):
    mock.behave(delay_ms=300)

    async def fire():
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(limits=limits, timeout=30) as client:
            body = {"model": "m", "messages": MESSAGES}
            calls = [client.post(mock.url + "/v1/chat/completions", json=body) for _ in range(200)]
            return [response.status_code for response in await asyncio.gather(*calls)]

    assert asyncio.run(fire()) == [200] * 200
    assert mock.count() == 200


def test_chunked_upload(mock):
    def pieces():
        yield b'{"model": "m", "messages":'
        yield b'[{"role": "user", "content": "x y"}]}'

    response = httpx.post(mock.url + "/v1/chat/completions", content=pieces())
    assert response.json()["usage"]["prompt_tokens"] == 5
