"""What a row makes of what a provider answers: usage in all its parts, odd usage, and none."""

import contextlib
import json

import httpx
import pytest

from support.calls import CHAT, chat
from support.nginx_conf import provider
from support.raw_provider import http_answer, raw_provider, taken

BODY = chat("One two three", max_tokens=20)
JSON = "Content-Type: application/json"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
DONE = b"data: [DONE]\n\n"
USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 5},
}


@pytest.fixture
def row_of(gateway):
    """The row of one request whose provider answers so."""

    def run(answer, body=BODY, **settings):
        with raw_provider(answer) as (url, _):
            one = gateway(providers=[provider("mock", url)], **settings)
            with contextlib.suppress(httpx.RemoteProtocolError):  # where it breaks off
                one.client.post(CHAT, json=body)
            return one.wait_row()

    return run


def whole(*texts, **fields):
    choices = [
        {"index": i, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        for i, text in enumerate(texts)
    ]
    return http_answer("200 OK", JSON, body=json.dumps(fields | {"choices": choices}).encode())


def chunk(text, index=0, **fields):
    choices = [{"index": index, "delta": {"content": text}}]
    return b"data: " + json.dumps({"choices": choices} | fields).encode() + b"\n\n"


def usage_chunk(usage):
    return b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"


@pytest.mark.parametrize(
    "answer",
    [
        whole("Yes.", usage=USAGE),
        [STREAM_HEAD, chunk("Yes."), usage_chunk(USAGE), DONE],
        [STREAM_HEAD, chunk("Yes.", usage=USAGE | {"completion_tokens": 1}), usage_chunk(USAGE), DONE],
        [STREAM_HEAD, chunk("Yes.", usage=USAGE), DONE],
        [STREAM_HEAD, chunk("Yes."), usage_chunk(USAGE)],
    ],
    ids=["whole", "stream", "running usage", "usage with a choice", "no end"],
)
def test_every_part_of_reported_usage(gateway, postgres, answer):
    stream = isinstance(answer, list)
    with raw_provider(answer) as (url, _):
        one = gateway(providers=[provider("mock", url)], postgres=postgres.conninfo)
        one.client.post(CHAT, json=BODY | {"stream": stream})
        [row] = postgres.wait_rows(1)
    tokens = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "cached_tokens": 60,
        "reasoning_tokens": 30,
        "audio_prompt_tokens": 10,
        "audio_completion_tokens": 5,
    }
    assert {name: row[name] for name in tokens} == tokens
    assert (row["usage_source"], row["status"], row["stream"]) == ("reported", 200, stream)
    parts = "input_nano_usd cached_nano_usd output_nano_usd reasoning_nano_usd tools_nano_usd"
    assert sum(row[part] for part in parts.split()) == row["cost_nano_usd"]
    assert row["cost_nano_usd"] == 40 * 150 + 60 * 75 + 50 * 600


@pytest.mark.parametrize(
    "answer",
    [
        whole("one", "two two two"),
        [STREAM_HEAD, chunk("one"), chunk("two", 1), chunk(" two two", 1), DONE],
    ],
    ids=["whole", "stream"],
)
def test_answer_of_several_choices_without_usage_is_counted(row_of, answer):
    row = row_of(answer, BODY | {"n": 2, "stream": isinstance(answer, list)})
    assert (row["prompt_tokens"], row["usage_source"], row["aborted"]) == (10, "counted", False)
    assert row["completion_tokens"] == 4


@pytest.mark.parametrize(
    "answer",
    [
        http_answer("200 OK", JSON, body=b"<html>"),
        http_answer("200 OK", JSON, body=b""),
        http_answer("200 OK", JSON, body=b'{"choices":[' + b" " * 2**21),
        http_answer("200 OK", "Content-Type: text/plain", body=b"Yes."),
    ],
    ids=["no JSON", "nothing", "half of a large one", "text"],
)
def test_answer_that_says_nothing_is_charged_as_held(row_of, answer):
    row = row_of(answer)
    assert (row["status"], row["usage_source"]) == (200, "held")
    assert row["cost_nano_usd"] == row["held_nano_usd"] > 0


@pytest.mark.parametrize("difference", [-5, 5])
@pytest.mark.parametrize("size", [100, 1_500_000], ids=["small", "large"])
def test_length_that_is_wrong(row_of, difference, size):
    """One row, which is not that of a whole answer; what was reported before it broke off stands."""
    usage = {"prompt_tokens": 6, "completion_tokens": 1}
    answer = whole("x" * size, usage=usage).replace(b"Connection: close\r\n", b"")
    head, _, body = answer.partition(b"\r\n\r\n")
    wrong = head.replace(b"%d" % len(body), b"%d" % (len(body) + difference))
    row = row_of(wrong + b"\r\n\r\n" + body)
    assert row["aborted"] is True
    assert row["usage_source"] == "reported"


def test_usage_after_the_end_of_a_stream_is_not_waited_for(row_of):
    """The client has seen the end: its row stands."""
    answer = [STREAM_HEAD, chunk("one"), DONE, taken, usage_chunk(USAGE)]
    row = row_of(answer, BODY | {"stream": True})
    assert (row["usage_source"], row["completion_tokens"]) == ("counted", 1)
