"""A conversation of real text, streamed through the OpenAI SDK: everything agrees to the token."""

import json
import time

import pytest

from support.paths import FIXTURES

CONVERSATION = json.loads((FIXTURES / "conversation.json").read_text(encoding="utf-8"))
MESSAGES = CONVERSATION["messages"]
DELTAS = CONVERSATION["answer_deltas"]
PROMPT_TOKENS = sum(len(message["content"].split()) + 3 for message in MESSAGES)
NANO_USD = PROMPT_TOKENS * 150 + len(DELTAS) * 600  # gpt-4o-mini in fixtures/prices.json
PAUSE_MS = 30


@pytest.fixture
def told(gateway, mock, openai_client):
    """(gateway, [(arrival, chunk)]) of the conversation's last answer."""
    mock.behave(deltas=DELTAS, chunk_delay_ms=PAUSE_MS)
    one = gateway()
    stream = openai_client(one).chat.completions.create(
        model="gpt-4o-mini",
        messages=MESSAGES,
        stream=True,
        stream_options={"include_usage": True},
        user="reader-7",
    )
    return one, [(time.time(), chunk) for chunk in stream]


def test_conversation(told, mock):
    one, chunks = told
    [request] = mock.requests()
    assert request["body"]["messages"] == MESSAGES

    contents = [(at, c.choices[0].delta.content) for at, c in chunks if c.choices]
    deltas = [(at, content) for at, content in contents if content]
    assert [content for _, content in deltas] == DELTAS

    sent = request["sent"][1 : 1 + len(DELTAS)]  # after the chunk with the role
    delays = [arrived - left for left, (arrived, _) in zip(sent, deltas, strict=True)]
    # The reader itself may be kept waiting, so not each is in time, but nearly all are.
    in_time = sum(delay < PAUSE_MS / 1000 for delay in delays)
    assert in_time >= 0.9 * len(DELTAS), delays
    assert deltas[-1][0] - deltas[0][0] >= 0.9 * (sent[-1] - sent[0])

    usage = chunks[-1][1].usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (PROMPT_TOKENS, len(DELTAS))

    row = one.wait_row()
    assert (row["prompt_tokens"], row["completion_tokens"]) == (PROMPT_TOKENS, len(DELTAS))
    assert row["cost_nano_usd"] == NANO_USD
    assert row["input_nano_usd"] == PROMPT_TOKENS * 150
    assert row["output_nano_usd"] == len(DELTAS) * 600
    assert row["held_nano_usd"] >= NANO_USD
    assert (row["status"], row["stream"], row["aborted"]) == (200, True, False)
    assert (row["usage_source"], row["attempts"], row["customer"]) == ("reported", 1, "reader-7")
    assert 0 <= row["ttft_ms"] <= row["ended_at"] - row["started_at"]


def test_conversation_is_nowhere_on_disk(told):
    one, _ = told
    one.wait_row()
    one.stop()
    sentence = MESSAGES[1]["content"][:24]
    for file in one.prefix.rglob("*"):
        if file.is_file():
            content = file.read_text(encoding="utf-8", errors="replace")
            assert sentence not in content, file
            assert "keep on good terms" not in content, file
