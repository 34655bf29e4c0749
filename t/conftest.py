"""Fixtures: mock provider, Redis, Postgres and gateways; all on free ports, none left running."""

import openai
import pytest

from support.gateway import Gateway
from support.mock import MockProvider
from support.nginx_conf import KEY, Settings, provider
from support.preload import preload
from support.servers import Postgres, Redis


@pytest.fixture(scope="session")
def mock_process():
    mock = MockProvider()
    yield mock
    mock.stop()


@pytest.fixture
def mock(mock_process):
    """The mock provider, with nothing received and its ordinary behaviour."""
    mock_process.reset()
    return mock_process


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory):
    server = Redis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis(redis_process):
    """A running, empty Redis."""
    redis_process.reset()
    return redis_process


@pytest.fixture(scope="session")
def postgres_cluster():
    cluster = Postgres()
    try:
        cluster.create()
        yield cluster
    finally:
        cluster.destroy()


@pytest.fixture
def postgres(postgres_cluster):
    """A running Postgres with the schema and no rows."""
    postgres_cluster.reset()
    return postgres_cluster


@pytest.fixture
def gateway(mock, tmp_path):
    """Makes gateways: gateway(workers=4, budgets=["key=* 1usd/1d"], …); started, the mock behind.

    When the test is over, each has to end gracefully and must not have logged an alarm.
    """
    made = []

    def make(start=True, **settings):
        prefix = tmp_path / f"gateway{len(made)}"
        prefix.mkdir()
        settings.setdefault("providers", [provider("mock", mock.url)])
        made.append(Gateway(prefix, Settings(**settings)))
        return made[-1].start() if start else made[-1]

    yield make
    late = []
    for one in made:
        try:
            one.stop()
        except AssertionError as error:
            late.append(str(error))
    alarms = [line for one in made for line in one.alarms()]
    assert not late + alarms, "\n".join(late + alarms)


@pytest.fixture(params=["memory", "redis"])
def ledger(request):
    """Settings of a gateway that counts in shared memory or in Redis."""
    if request.param == "memory":
        return {}
    server = request.getfixturevalue("redis")
    return {"redis": f"{server.url} timeout=5s on_failure=deny"}


@pytest.fixture
def openai_client():
    """Makes OpenAI SDK clients for a gateway, without the SDK's own retries."""
    clients = []

    def make(gateway, key=KEY, **options):
        options = {"max_retries": 0, "timeout": 30} | options
        clients.append(openai.OpenAI(base_url=gateway.base_url, api_key=key, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def sync_log(tmp_path, monkeypatch):
    """Gateways get a disk whose every sync takes 0.5 s and is written to this file."""
    log = tmp_path / "sync.log"
    log.touch()
    preload(monkeypatch, tmp_path, "slow_sync.c", SYNC_LOG=log)
    return log
