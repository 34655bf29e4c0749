"""nginx -s reload while streams run: none is cut, no counter and no row is lost."""

import collections
import threading

import pytest

from support.calls import CHAT, chat, stream_events, text_of
from support.nginx_conf import KEY_RECORD
from support.waiting import wait_until

TOKENS = 1000
BODY = chat(model="output-only", max_tokens=TOKENS)
STREAMS = 20


class Streams:
    """Streams that are read by threads of their own."""

    def __init__(self, gateway, count, **fields):
        self.results = []  # (text, last event) or the exception
        self._gateway = gateway
        self._body = BODY | {"stream": True} | fields
        self._threads = [threading.Thread(target=self._read) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _read(self):
        try:
            with self._gateway.client.stream("POST", CHAT, json=self._body) as response:
                *events, last = stream_events(response)
            self.results.append((text_of(events), last))
        except Exception as error:  # the test compares it with what it should have been
            self.results.append(error)

    def finish(self):
        for thread in self._threads:
            thread.join(timeout=60)
        return self.results


def wait_streaming(mock, count):
    """`count` streams have begun at the provider."""
    wait_until(
        lambda: sum(len(request["sent"]) > 2 for request in mock.requests()) >= count,
        "all streams have begun",
    )


@pytest.mark.parametrize("reloads", [1, 3])
def test_no_stream_is_cut(gateway, mock, reloads):
    mock.behave(tokens=40, chunk_delay_ms=75)
    one = gateway(workers=2)
    streams = Streams(one, STREAMS, max_tokens=40)
    wait_streaming(mock, STREAMS)
    for _ in range(reloads):
        one.reload()
    assert all(request["finished_at"] is None for request in mock.requests())  # still streaming
    mock_text = "".join(dict.fromkeys(text for text, _ in streams.finish()))
    assert collections.Counter(streams.results) == {(mock_text, "[DONE]"): STREAMS}
    assert len(mock_text.split()) == 40
    rows = one.wait_rows(STREAMS)
    assert {row["completion_tokens"] for row in rows} == {40}
    assert not [row for row in rows if row["aborted"]]
    wait_until(lambda: len(one.all_workers()) == 2, "the old workers have left")


def test_budget_is_kept(gateway, mock, ledger):
    mock.behave(tokens=TOKENS)
    one = gateway(workers=2, budgets=["key=* 0.01usd/30d"], **ledger)
    for _ in range(4):
        assert one.client.post(CHAT, json=BODY).status_code == 200
    one.reload()
    statuses = [one.client.post(CHAT, json=BODY).status_code for _ in range(10)]
    assert statuses == [200] * 6 + [429] * 4


def test_holds_of_running_streams_are_kept(gateway, mock, ledger):
    """Nine streams hold nine tenths of the budget: there is room for one request."""
    mock.behave(tokens=40, chunk_delay_ms=75)
    one = gateway(workers=2, budgets=["key=* 0.01usd/30d"], **ledger)
    streams = Streams(one, 9)
    wait_streaming(mock, 9)
    one.reload()
    mock.behave(tokens=TOKENS)
    statuses = [one.client.post(CHAT, json=BODY).status_code for _ in range(2)]
    assert statuses == [200, 429]
    assert {last for _, last in streams.finish()} == {"[DONE]"}
    # 9 x 40 and 1000 of 10 000 tokens are used: room for eight more.
    wait_until(lambda: len(one.spool_rows()) == 12 - 1, "the streams are settled")
    statuses = [one.client.post(CHAT, json=BODY).status_code for _ in range(9)]
    assert statuses == [200] * 8 + [429]


def test_a_changed_limit_resets_nothing(gateway, mock, ledger):
    mock.behave(tokens=TOKENS)
    one = gateway(budgets=["key=* 0.002usd/30d"], **ledger)
    statuses = [one.client.post(CHAT, json=BODY).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    one.reload(budgets=["key=* 0.005usd/30d"])
    statuses = [one.client.post(CHAT, json=BODY).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]


def test_keys_are_read_again(gateway):
    one = gateway()
    assert one.client.post(CHAT, json=BODY).status_code == 200
    one.reload(keys=[KEY_RECORD | {"blocked": True}])
    assert one.client.post(CHAT, json=BODY).status_code == 401
    one.reload(keys=[KEY_RECORD])
    assert one.client.post(CHAT, json=BODY).status_code == 200


def test_rows_reach_postgres_over_a_reload(gateway, mock, postgres):
    mock.behave(tokens=40, chunk_delay_ms=50)
    one = gateway(workers=2, postgres=postgres.conninfo)
    streams = Streams(one, STREAMS)
    wait_streaming(mock, STREAMS)
    one.reload()
    mock.behave(tokens=5)
    for _ in range(30):
        assert one.client.post(CHAT, json=BODY).status_code == 200
    assert {last for _, last in streams.finish()} == {"[DONE]"}
    rows = postgres.wait_rows(STREAMS + 30)
    tokens = collections.Counter(row["completion_tokens"] for row in rows)
    assert tokens == {40: STREAMS, 5: 30}
