"""scripts/spend-log: tail, sum and replay what the spool holds."""

import json
import shutil
import subprocess
import time

import pytest

from support.calls import CHAT, chat
from support.paths import ROOT

BODY = chat("One two three", max_tokens=20, user="Ü 'x'\\u0000\\")
NANO_USD = 6 * 150 + 5 * 600  # see test_spend


def spend_log(*arguments, status=0):
    command = [ROOT / "scripts/spend-log", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stderr
    return done


@pytest.fixture
def spool(gateway, mock):
    """A directory with three rows, one of them an error, and a torn line."""
    mock.behave(tokens=5)
    one = gateway()
    for fields in ({"metadata": {"tags": ["a,b", '"c"']}}, {}, {"model": "gpt-17"}):
        one.client.post(CHAT, json=BODY | fields)
    one.wait_rows(3)
    one.stop()
    with open(one.prefix / "spool/1700000000000-1-1.jsonl", "w") as torn:
        torn.write('{"request_id":"01\n{"started_at":1')
    return one.prefix / "spool"


def test_tail_shows_the_last_rows(spool):
    done = spend_log("tail", "-n", 2, spool)
    assert len(done.stdout.splitlines()) == 2
    assert "model_not_found" in done.stdout
    assert done.stderr == "spend-log: 1 lines are not whole\n"
    rows = [json.loads(line) for line in spend_log("tail", "--json", spool).stdout.splitlines()]
    assert [row["status"] for row in rows] == [200, 200, 404]
    assert rows[0]["tags"] == ["a,b", '"c"']


def test_tail_follows(gateway, mock):
    one = gateway()
    command = [ROOT / "scripts/spend-log", "tail", "-f", "--json", one.prefix / "spool"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tail:
        for _ in range(3):
            response = one.client.post(CHAT, json=BODY)
            row = json.loads(tail.stdout.readline())
            assert row["request_id"] == response.headers["x-llm-request-id"]
        tail.terminate()


def test_sum_by_fields(spool):
    done = spend_log("sum", "--by", "key,model,day", "--json", spool)
    [served, refused] = sorted(map(json.loads, done.stdout.splitlines()), key=lambda t: t["errors"])
    assert served == {
        "key": "tester",
        "model": "gpt-4o-mini",
        "day": time.strftime("%Y-%m-%d", time.gmtime()),
        "requests": 2,
        "errors": 0,
        "prompt_tokens": 12,
        "completion_tokens": 10,
        "cost_nano_usd": 2 * NANO_USD,
    }
    assert (refused["requests"], refused["errors"], refused["cost_nano_usd"]) == (1, 1, 0)
    table = spend_log("sum", "--by", "team", spool).stdout.splitlines()
    assert table[0].split() == ["team", "requests", "errors", "prompt", "completion", "USD"]
    assert table[1].split() == ["qa", "3", "1", "12", "10", "0.000007800"]


def test_sum_from_and_to(spool):
    assert json.loads(spend_log("sum", "--json", "--from", "2020-01-01", "--by", "org", spool).stdout)
    assert not spend_log("sum", "--json", "--to", "2020-01-01", spool).stdout
    assert not spend_log("sum", "--json", "--from", "2100-01-01T10:00", spool).stdout


def test_replay_stores_each_row_once(spool, postgres):
    assert spend_log("replay", "--into", postgres.conninfo, spool).stdout == "3 rows read, 3 inserted\n"
    assert spend_log("replay", "--into", postgres.conninfo, spool).stdout == "3 rows read, 0 inserted\n"
    rows = sorted(postgres.rows(), key=lambda row: row["started_at"])
    spooled = [json.loads(line) for line in spend_log("tail", "--json", spool).stdout.splitlines()]
    for row, wanted in zip(rows, spooled, strict=True):
        assert wanted["request_id"] == str(row.pop("request_id"))
        for name in ("started_at", "ended_at"):
            assert round(row.pop(name).timestamp() * 1000) == wanted[name]
        assert row == {name: wanted[name] for name in row}


def test_replay_and_gateway_write_the_same(gateway, mock, postgres):
    """What the writer stored already, replay leaves as it is."""
    mock.behave(tokens=5)
    one = gateway(postgres=postgres.conninfo, postgres_options="batch=1000 flush=60s")
    one.client.post(CHAT, json=BODY)
    one.wait_row()
    spend_log("replay", "--into", postgres.conninfo, one.prefix / "spool")
    [replayed] = postgres.rows()
    one.stop()  # delivers
    assert not one.spool_rows()
    assert postgres.rows() == [replayed]


def test_mistakes_are_told(spool, tmp_path):
    for arguments in (
        ["sum", tmp_path / "missing"],
        ["sum", "--by", "colour", spool],
        ["sum", "--from", "yesterday", spool],
        ["replay", spool],
        [],
    ):
        said = spend_log(*arguments, status=2).stderr
        assert "usage:" in said
        assert "Traceback" not in said


def test_what_cannot_be_read_is_told(spool):
    (spool / "1700000000000-1-2.jsonl").mkdir()
    for arguments in (["tail"], ["sum"], ["replay", "--into", "host=127.0.0.1 port=1"]):
        done = spend_log(*arguments, spool, status=1)
        assert "1700000000000-1-2.jsonl: Is a directory" in done.stderr
        assert "Traceback" not in done.stderr


def test_tail_ends_with_its_directory(spool):
    command = [ROOT / "scripts/spend-log", "tail", "-f", "-n", "1", spool]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tail:
        assert tail.stdout.readline()
        shutil.rmtree(spool)
        _, said = tail.communicate(timeout=10)
    assert said == f"spend-log: {spool}: No such file or directory\n"
    assert tail.returncode == 1


def test_replay_fails_without_a_database(spool):
    done = spend_log("replay", "--into", "host=127.0.0.1 port=1 dbname=llm", spool, status=2)
    assert "Connection refused" in done.stderr
    assert "Traceback" not in done.stderr
