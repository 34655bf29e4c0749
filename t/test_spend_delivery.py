"""Rows on their way to Postgres: bad ones, poolers, and an nginx that ends."""

import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import uuid
import zlib

import psycopg
import pytest

from support.calls import CHAT, chat
from support.load import fire
from support.paths import PRELOAD, program
from support.servers import PgBouncer
from support.waiting import accepts_connections, wait_until

BODY = chat("One two three", max_tokens=20)
LATER = "batch=1000 flush=60s"  # rows stay in the spool until something happens


def with_checksum(row):
    text = json.dumps(row, separators=(",", ":"))[:-1]
    return f'{text},"crc":"{zlib.crc32(text.encode()):08x}"}}'


def test_bad_rows_are_kept_apart(gateway, mock, postgres):
    """Postgres refuses two of a thousand, and one is no row at all: the others are stored."""
    one = gateway()
    one.client.post(CHAT, json=BODY)
    sample = {name: value for name, value in one.wait_row().items() if name != "crc"}
    one.stop()
    rows = [sample | {"request_id": str(uuid.uuid4())} for _ in range(1000)]
    for bad in (rows[123], rows[124]):
        bad["prompt_tokens"] = 10**30
    rows[500] = {"surprise": True}
    lines = [with_checksum(row) for row in rows]

    other = gateway(postgres=postgres.conninfo, start=False)
    (other.prefix / "spool").mkdir()
    spooled = other.prefix / "spool/1700000000000-1-000000.jsonl"
    spooled.write_text("".join(line + "\n" for line in lines))
    other.start()
    postgres.wait_rows(997)
    rejected = other.prefix / "spool/rejected.jsonl"
    wait_until(lambda: not spooled.exists(), "the file is done with")
    expected = [lines[123], lines[124], lines[500]]
    assert sorted(rejected.read_text().splitlines()) == sorted(expected)
    said = "Postgres refused a row, it is in rejected.jsonl"
    assert other.error_log.count(said) == 2

    other.client.post(CHAT, json=BODY)
    postgres.wait_rows(998)
    assert other.error_log.count(said) == 2


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGTERM], ids=["QUIT", "TERM"])
def test_rows_are_delivered_when_nginx_ends(gateway, mock, postgres, number):
    one = gateway(workers=2, reuseport=True, postgres=postgres.conninfo, postgres_options=LATER)
    fire(one, [BODY] * 50)
    one.wait_rows(50)
    assert postgres.rows() == []
    os.kill(one.master, number)
    one.wait()
    assert len(postgres.rows()) == 50
    assert one.spool_rows() == []


def test_rows_are_delivered_at_a_reload(gateway, mock, postgres):
    one = gateway(workers=2, reuseport=True, postgres=postgres.conninfo, postgres_options=LATER)
    fire(one, [BODY] * 50)
    one.wait_rows(50)
    one.reload()
    postgres.wait_rows(50)


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGTERM], ids=["QUIT", "TERM"])
def test_nginx_does_not_wait_for_postgres_for_long(gateway, mock, postgres, number):
    one = gateway(postgres=postgres.conninfo)
    with psycopg.connect(postgres.conninfo) as connection:
        connection.execute("LOCK TABLE llm_spend IN ACCESS EXCLUSIVE MODE")
        fire(one, [BODY] * 10)
        one.wait_rows(10)
        before = time.monotonic()
        os.kill(one.master, number)
        one.wait()
        assert time.monotonic() - before < 5
        assert len(one.spool_rows()) == 10
    one.start()
    wait_until(lambda: not one.spool_rows(), "the rows are delivered")
    postgres.wait_rows(10)  # what the old one sent may have been stored after all


def test_two_gateways_share_a_database(gateway, mock, postgres):
    """They add to the same sums at the same time, each from a spool of its own."""
    mock.behave(tokens=5)
    both = [gateway(workers=2, reuseport=True, postgres=postgres.conninfo) for _ in range(2)]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda one: fire(one, [BODY] * 200), both))
    ids = {answer.headers["x-llm-request-id"] for some in answers for answer in some}
    rows = postgres.wait_rows(400)
    assert {str(row["request_id"]) for row in rows} == ids
    with psycopg.connect(postgres.conninfo) as connection:
        [sums] = connection.execute(
            "SELECT requests, cost_nano_usd FROM llm_spend_daily WHERE errors = 0"
        ).fetchall()
    assert sums == (400, sum(row["cost_nano_usd"] for row in rows))
    assert "Postgres refused" not in both[0].error_log + both[1].error_log


@pytest.mark.skipif(bool(PRELOAD), reason="nginx hands no LD_PRELOAD on")
def test_binary_upgrade(gateway, mock, postgres):
    """The old workers deliver their rows, those of streams that outlast the new ones' start too."""
    mock.behave(tokens=30, chunk_delay_ms=50)
    one = gateway(start=False, postgres=postgres.conninfo, postgres_options=LATER)
    one.configure()
    pid_file = one.prefix / "nginx.pid"
    # As a daemon: nginx upgrades none whose parent it still has.
    subprocess.run(one.command("-e", one.prefix / "error.log"), check=True)
    wait_until(lambda: accepts_connections(one.port), "nginx serves")
    old = int(pid_file.read_text())
    try:
        with one.client.stream("POST", CHAT, json=BODY | {"stream": True}) as response:
            pieces = response.iter_raw()
            next(pieces)
            os.kill(old, signal.SIGUSR2)
            wait_until(lambda: pid_file.exists() and int(pid_file.read_text()) != old, "it starts")
            os.kill(old, signal.SIGQUIT)
            assert b"[DONE]" in b"".join(pieces)
        assert len(postgres.wait_rows(1)) == 1
        wait_until(lambda: not pathlib.Path(f"/proc/{old}/stat").exists(), "the old one is gone")
        mock.behave(tokens=5)
        assert one.client.post(CHAT, json=BODY).status_code == 200
    finally:
        os.kill(int(pid_file.read_text()), signal.SIGQUIT)
    postgres.wait_rows(2)
    wait_until(lambda: not pid_file.exists(), "the new one is gone")


@pytest.fixture
def pgbouncer(postgres):
    with tempfile.TemporaryDirectory(prefix="llm-pgbouncer-") as directory:
        pooler = PgBouncer(postgres, pathlib.Path(directory))
        yield pooler
        pooler.stop()


def test_pooler_in_transaction_mode(gateway, mock, postgres, pgbouncer):
    """All workers share one connection to Postgres with others, and leave no setting behind."""
    one = gateway(workers=4, reuseport=True, postgres=pgbouncer.conninfo)
    for _ in range(3):
        fire(one, [BODY] * 50)
    postgres.wait_rows(150)
    with psycopg.connect(pgbouncer.conninfo, autocommit=True, prepare_threshold=None) as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)
    postgres.stop()
    fire(one, [BODY] * 50)
    postgres.start()
    postgres.wait_rows(200, timeout=40)


def test_idle_connection_is_given_back(gateway, mock, postgres):
    one = gateway(postgres=postgres.conninfo)
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'nginx-llm'"

    def connections():
        with psycopg.connect(postgres.conninfo) as connection:
            return connection.execute(count).fetchone()[0]

    one.client.post(CHAT, json=BODY)
    postgres.wait_rows(1)
    assert connections() == 1
    wait_until(lambda: connections() == 0, "it is given back", timeout=20)
    one.client.post(CHAT, json=BODY)
    postgres.wait_rows(2)
    assert connections() == 1


def test_statement_gives_up_before_we_do(gateway, mock, postgres):
    """No statement stays behind in Postgres when a lock keeps it waiting."""
    one = gateway(postgres=postgres.conninfo)
    with psycopg.connect(postgres.conninfo) as connection:
        connection.execute("LOCK TABLE llm_spend IN ACCESS EXCLUSIVE MODE")
        one.client.post(CHAT, json=BODY)
        refusal = "canceling statement due to statement timeout"
        wait_until(lambda: refusal in one.error_log, "Postgres cancels it", timeout=15)
    postgres.wait_rows(1)


def make_certificate(directory, name):
    """A key and a certificate that signs itself."""
    key, certificate = directory / f"{name}.key", directory / f"{name}.crt"
    command = [program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return key, certificate


@pytest.fixture
def tls_postgres(postgres, tmp_path):
    """Postgres with a certificate for "localhost", and that certificate."""
    key, certificate = make_certificate(tmp_path, "postgres")
    postgres.use_tls(key, certificate)
    yield postgres, certificate
    postgres.use_no_tls()


def test_rows_over_tls(gateway, mock, tls_postgres, tmp_path):
    postgres, certificate = tls_postgres
    conninfo = postgres.conninfo.replace("host=127.0.0.1", "host=localhost") + " sslmode=verify-full"
    one = gateway(postgres=f"{conninfo} sslrootcert={certificate}")
    assert {response.status_code for response in fire(one, [BODY] * 50)} == {200}
    postgres.wait_rows(50)
    assert postgres.tls_clients() == 1

    _, other = make_certificate(tmp_path, "other")
    distrusts = gateway(postgres=f"{conninfo} sslrootcert={other}")
    assert distrusts.client.post(CHAT, json=BODY).status_code == 200
    wait_until(lambda: "certificate verify failed" in distrusts.error_log, "it is refused")
    assert len(distrusts.spool_rows()) == 1
    assert len(postgres.rows()) == 50
