"""Streams: passed on as they come, however the bytes fall, and counted to the token."""

import time

import httpx
import pytest

from support.calls import CHAT, chat, stream_events, text_of
from support.tokens import chat_tokens, text_tokens

REPLY = "Zoë says: “naïve café” ✓ 😀 end."
BODY = chat("Say it.", stream=True, max_tokens=50)
WITH_USAGE = BODY | {"stream_options": {"include_usage": True}}
WORDS = len(REPLY.split())


def raw(url, client=httpx, **fields):
    response = client.post(url, json=BODY | fields, timeout=60)
    assert response.status_code == 200
    return response.content


def direct(mock, **fields):
    return raw(mock.url + CHAT, **fields)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 1000])
@pytest.mark.parametrize("usage", [False, True], ids=["usage hidden", "usage asked"])
def test_split_anywhere(gateway, mock, size, usage):
    """Byte for byte what the provider sends, but for the usage chunk that nobody asked for."""
    one = gateway()
    mock.behave(reply=REPLY)
    fields = {"stream_options": {"include_usage": True}} if usage else {}
    expected = direct(mock, **fields)
    mock.behave(reply=REPLY, split=size)
    got = raw(CHAT, one.client, **fields)
    if usage:
        assert got == expected
    else:  # the provider was asked for usage, so its chunks say "usage":null
        assert got.replace(b',"usage":null', b"") == expected
    assert mock.requests()[-1]["body"]["stream_options"] == {"include_usage": True}
    row = one.wait_row()
    assert (row["prompt_tokens"], row["completion_tokens"]) == (5, WORDS)
    assert (row["usage_source"], row["aborted"]) == ("reported", False)


def test_usage_chunk_is_shown_only_to_who_asked(gateway, mock):
    mock.behave(reply=REPLY)
    one = gateway()
    for fields, shown in (
        ({}, 0),
        ({"stream_options": None}, 0),
        ({"stream_options": {}}, 0),
        ({"stream_options": {"include_usage": False}}, 0),
        ({"stream_options": {"include_usage": True}}, 1),
    ):
        with one.client.stream("POST", CHAT, json=BODY | fields) as response:
            *events, done = stream_events(response)
        assert done == "[DONE]"
        assert text_of(events) == REPLY
        assert len([event for event in events if event["choices"] == []]) == shown, fields
        assert len([event for event in events if event.get("usage")]) == shown, fields
    assert {row["completion_tokens"] for row in one.wait_rows(5)} == {WORDS}


def arrivals(client):
    """When each event of a paced stream arrived."""
    times = []
    with client.stream("POST", CHAT, json=WITH_USAGE) as response:
        for _ in stream_events(response):
            times.append(time.time())
    return times


def test_deltas_arrive_as_they_are_sent(gateway, mock):
    """Each one before the provider sends the next: nothing is held back."""
    pause = 0.25
    mock.behave(tokens=6, chunk_delay_ms=int(pause * 1000))
    arrived = arrivals(gateway().client)
    sent = mock.requests()[-1]["sent"]
    assert len(arrived) == len(sent)
    delays = [there - here for here, there in zip(sent, arrived, strict=True)]
    assert all(delay < pause for delay in delays), delays
    assert arrived == sorted(arrived)


def test_deltas_arrive_as_they_are_sent_over_http2(gateway, mock):
    mock.behave(tokens=6, chunk_delay_ms=250)
    one = gateway()
    url = f"http://127.0.0.1:{one.port_h2}"
    headers = one.client.headers
    with httpx.Client(base_url=url, http1=False, http2=True, headers=headers) as client:
        arrived = arrivals(client)
    sent = mock.requests()[-1]["sent"]
    assert all(there - here < 0.25 for here, there in zip(sent, arrived, strict=True))


def test_time_to_first_token(gateway, mock):
    mock.behave(tokens=3, delay_ms=300, chunk_delay_ms=100)
    one = gateway()
    raw(CHAT, one.client)
    row = one.wait_row()
    assert 380 <= row["ttft_ms"] <= row["ended_at"] - row["started_at"]
    assert row["ended_at"] - row["started_at"] >= 580


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_gzip_is_not_asked_of_the_provider(gateway, mock, stream):
    """So that usage can be read, even if the client accepts gzip."""
    mock.behave(reply=REPLY, gzip=1)
    one = gateway()
    response = one.client.post(CHAT, json=BODY | {"stream": stream})
    assert "gzip" not in mock.requests()[0]["headers"].get("accept-encoding", "")
    assert response.status_code == 200
    assert one.wait_row()["usage_source"] == "reported"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_provider_that_compresses_anyway(gateway, mock, stream):
    """The bytes pass; the usage cannot be read, so the hold is the charge."""
    mock.behave(reply=REPLY, gzip="force")
    one = gateway()
    response = one.client.post(CHAT, json=BODY | {"stream": stream})
    assert response.headers["content-encoding"] == "gzip"
    assert b"end." in response.content
    row = one.wait_row()
    assert row["usage_source"] == "held"
    assert row["cost_nano_usd"] == row["held_nano_usd"] > 0


@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_without_usage_the_output_is_counted(gateway, mock, cut):
    text = "It’s “naïve”: 中文测试 👩‍👧 don't  HTTPServer\n\n1234567 — конец."
    deltas = [text[i : i + cut] for i in range(0, len(text), cut)]
    mock.behave(deltas=deltas, no_usage=1)
    one = gateway()
    with one.client.stream("POST", CHAT, json=BODY | {"max_tokens": 1000}) as response:
        assert text_of(stream_events(response)) == text
    row = one.wait_row()
    assert row["usage_source"] == "counted"
    assert row["prompt_tokens"] == chat_tokens(BODY["messages"])
    assert row["completion_tokens"] == text_tokens(text)
    assert 0 < row["cost_nano_usd"] <= row["held_nano_usd"]


def test_without_usage_each_choice_is_counted(gateway, mock):
    mock.behave(deltas=["one", " two", "three"], no_usage=1)
    one = gateway()
    raw(CHAT, one.client, n=2, max_tokens=100)
    row = one.wait_row()
    assert row["usage_source"] == "counted"
    assert row["completion_tokens"] == 2 * sum(map(text_tokens, ["one", " two", "three"]))


def test_what_a_cut_stream_has_shown_is_counted(gateway, mock):
    mock.behave(reply=REPLY, cut_after=3)
    one = gateway()
    with pytest.raises(httpx.RemoteProtocolError):
        raw(CHAT, one.client)
    row = one.wait_row()
    assert (row["usage_source"], row["aborted"]) == ("counted", True)
    assert row["completion_tokens"] == text_tokens(" ".join(REPLY.split(" ")[:3]))


def test_without_usage_a_whole_answer_is_counted(gateway, mock):
    reply = " ".join(["As one says: 中文, naïve, and so on."] * 60)
    mock.behave(reply=reply, no_usage=1)
    one = gateway()
    assert one.client.post(CHAT, json=chat(max_tokens=4000)).status_code == 200
    row = one.wait_row()
    assert row["usage_source"] == "counted"
    assert row["completion_tokens"] == text_tokens(reply)


def test_garbage_in_a_stream_passes_and_is_charged(gateway, mock):
    mock.behave(garbage=1)
    one = gateway()
    assert b"{not json" in raw(CHAT, one.client)
    assert one.wait_row()["usage_source"] in ("counted", "held")


def test_many_choices(gateway, mock):
    mock.behave(reply="a b c")
    one = gateway()
    raw(CHAT, one.client, n=3)
    assert one.wait_row()["completion_tokens"] == 9
