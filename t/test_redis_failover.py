"""The primary changes under load: in a list of servers, by Sentinels, in a Cluster.

The model `output-only` costs 1000 nano-USD per output token and nothing for its prompt.
"""

import contextlib
import signal
import threading
import time

import httpx
import pytest
import redis

from support import redis_state
from support.calls import CHAT, chat
from support.gateway import bearer
from support.nginx_conf import KEY
from support.redis_groups import Cluster, Group, Sentinel, SentinelGroup, follows, is_primary
from support.waiting import free_port, wait_until

BUDGET = "global:usd:1d"
TOKENS = 100
NANO_USD = 1000 * TOKENS
BODY = chat(model="output-only", max_tokens=TOKENS)
CLIENTS = 8
TIMEOUT_MS = 200
SECRET = "s3cr3t-of-redis"
SENTINEL_SECRET = "s3cr3t-of-sentinels"


@pytest.fixture
def servers(tmp_path):
    """Makes groups of servers: servers(Group), started."""
    with contextlib.ExitStack() as stack:

        def make(kind, **options):
            directory = tmp_path / kind.__name__
            directory.mkdir()
            group = kind(directory, **options)
            stack.callback(group.stop)
            return group.start()

        yield make


def settings(url, on_failure="local", requests=1_000_000, timeout_ms=TIMEOUT_MS):
    return {
        "redis": f"{url} timeout={timeout_ms}ms on_failure={on_failure}",
        "budgets": [f"global {requests * NANO_USD / 1e9:.4f}usd/1d"],
    }


def used(server):
    return redis_state.budget(server.client, BUDGET)


def lacks(server, cost):
    """How many requests it has not counted; it never counts one twice."""
    missing, rest = divmod(cost - used(server), NANO_USD)
    assert missing >= 0 and rest == 0
    return missing


def assert_agrees(one, group, count):
    """The primary has counted what the spend rows say, and no request holds anything."""
    cost = sum(row["cost_nano_usd"] for row in one.wait_rows(count))
    primary = group.primary()
    wait_until(lambda: used(primary) == cost, f"{cost} nano-USD used, not {used(primary)}", 20)
    wait_until(lambda: not redis_state.open_holds(primary.client), "no hold is left")
    return cost


class Load:
    """Clients that send one request after the other, while the block runs."""

    def __init__(self, one):
        self._one = one
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(CLIENTS)]
        self.answers = []  # (when it was sent, seconds, status)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _send(self):
        with httpx.Client(base_url=self._one.url, headers=bearer(KEY), timeout=30) as own:
            while not self._done.is_set():
                start = time.monotonic()
                try:
                    status = own.post(CHAT, json=BODY).status_code
                except (httpx.RemoteProtocolError, httpx.ReadError, httpx.ConnectError):
                    continue  # its connection ended with an old worker
                self.answers.append((start, time.monotonic() - start, status))
                if status == 503:
                    self._done.wait(0.05)  # as a client that tries again later

    def another(self, count):
        seen = len(self.answers)
        wait_until(lambda: len(self.answers) >= seen + count, f"{count} more answers", 30)

    def count(self, status):
        return sum(answer[2] == status for answer in self.answers)

    def assert_nobody_waited(self):
        """Longer than for the provider, and once for Redis."""
        assert max(seconds for _, seconds, _ in self.answers) < 1


def counts_again(load, group):
    """Until the ledger is on the group's primary."""

    def counted():
        primary = group.primary()
        before = used(primary)
        load.another(CLIENTS)
        return used(primary) > before

    wait_until(counted, "the new primary counts", 30)


# --- how the primary changes: (group, what happens) ---


def switch_list(group):
    """Writes wait until the replica has everything."""
    old, new = group.primary(), group.replica()
    old.client.execute_command("FAILOVER", "TO", "127.0.0.1", new.port)
    wait_until(lambda: is_primary(new) and follows(old), "the roles are changed")


def switch_sentinels(group):
    """Sentinels do not care for what the replica does not have yet: so writes are stopped before."""
    old, new = group.primary(), group.replica()
    old.client.execute_command("CLIENT", "PAUSE", 15_000, "WRITE")
    wait_until(lambda: offset(new) == offset(old), "the replica has everything")
    group.failover()
    wait_until(lambda: is_primary(new), "the replica is promoted")


def switch_cluster(group):
    """The replica first gets everything."""
    old, new = group.primary(), group.replica()
    new.client.execute_command("CLUSTER", "FAILOVER")
    wait_until(lambda: is_primary(new) and follows(old), "the roles are changed")


def offset(server):
    info = server.client.info("replication")
    return info["master_repl_offset"]


def kill_list(group):
    """Somebody else promotes the replica."""
    new = group.replica()
    group.primary().kill()
    new.client.replicaof("NO", "ONE")


def kill_others(group):
    """Sentinels or the other nodes promote the replica."""
    old, new = group.primary(), group.replica()
    old.kill()
    wait_until(lambda: is_primary(new), "the replica is promoted", 20)


SWITCHES = [(Group, switch_list), (SentinelGroup, switch_sentinels), (Cluster, switch_cluster)]
KILLS = [(Group, kill_list), (SentinelGroup, kill_others), (Cluster, kill_others)]


def url_of(group):
    """Of a Cluster it is enough to know a node, here one without our slot."""
    return group.other().url if isinstance(group, Cluster) else group.url


@pytest.mark.parametrize("kind", [Group, SentinelGroup, Cluster])
def test_the_primary_is_found_before_the_first_request(gateway, mock, servers, kind):
    """No request is lost on a replica, a Sentinel or another node: with `deny` each would be 503."""
    group = servers(kind)
    one = gateway(workers=2, reuseport=True, **settings(url_of(group), "deny", timeout_ms=5000))
    for _ in range(2):
        statuses = [httpx.post(one.url + CHAT, json=BODY, headers=bearer(KEY)).status_code for _ in range(10)]
        assert set(statuses) == {200}
        one.reload()
    assert_agrees(one, group, 20)


@pytest.mark.parametrize("kind, switch", SWITCHES)
def test_planned_switch_counts_everything_once(gateway, mock, servers, kind, switch):
    mock.behave(tokens=TOKENS // 2, delay_ms=5)
    group = servers(kind)
    one = gateway(workers=2, reuseport=True, **settings(url_of(group)))
    with Load(one) as load:
        load.another(200)
        switch(group)
        counts_again(load, group)
        load.another(200)
    load.assert_nobody_waited()
    assert load.count(200) == len(load.answers)
    cost = assert_agrees(one, group, len(load.answers))
    assert cost == len(load.answers) * NANO_USD // 2


@pytest.mark.parametrize("kind, switch", SWITCHES)
def test_reload_during_a_planned_switch(gateway, mock, servers, kind, switch):
    """What the old workers cannot tell any more, the new ones do."""
    mock.behave(tokens=TOKENS // 2, delay_ms=5)
    group = servers(kind)
    one = gateway(workers=2, reuseport=True, **settings(url_of(group)))
    old = one.workers()
    with Load(one) as load:
        load.another(200)
        switching = threading.Thread(target=switch, args=[group])
        switching.start()
        one.reload()
        switching.join()
        counts_again(load, group)
    wait_until(lambda: not set(old) & set(one.all_workers()), "the old workers are gone", 20)
    assert_agrees(one, group, len(load.answers))


@pytest.mark.parametrize("kind, kill", KILLS)
def test_a_killed_primary_does_not_lift_the_limit(gateway, mock, servers, kind, kill):
    """Of what the primary had acknowledged the replica may lack the last: no more than was in flight."""
    mock.behave(tokens=TOKENS, delay_ms=20)
    limit = 400
    group = servers(kind)
    one = gateway(workers=2, reuseport=True, **settings(url_of(group), "deny", limit))
    with Load(one) as load:
        load.another(limit // 4)
        kill(group)
        wait_until(lambda: load.count(429) > 100, "the budget is used up", 30)
    load.assert_nobody_waited()
    assert {status for *_, status in load.answers} <= {200, 429, 503}
    assert limit <= load.count(200) <= limit + CLIENTS
    cost = sum(row["cost_nano_usd"] for row in one.wait_rows(len(load.answers)))
    assert cost == load.count(200) * NANO_USD
    wait_until(lambda: lacks(group.primary(), cost) <= CLIENTS, "most of it has arrived")


def test_what_the_new_primary_does_not_hold_is_charged(gateway, mock, servers):
    """Requests that run while their holds are lost with the primary."""
    mock.behave(tokens=TOKENS // 2, chunk_delay_ms=20)
    group = servers(Group)
    old, new = group.servers
    one = gateway(**settings(group.url))
    wait_until(lambda: one.client.post(CHAT, json=BODY).status_code == 200 and used(old), "it counts")
    wait_until(lambda: used(new) == used(old) and follows(new), "the replica has it")
    before = used(new)
    new.client.replicaof("NO", "ONE")
    with contextlib.ExitStack() as stack:
        body = BODY | {"stream": True}
        streams = [stack.enter_context(one.client.stream("POST", CHAT, json=body)) for _ in range(3)]
        assert used(old) == before + 3 * NANO_USD
        old.kill()
        for stream in streams:
            stream.read()
    wait_until(lambda: used(new) == before + 3 * NANO_USD // 2, "what they used is counted")
    assert not redis_state.open_holds(new.client)


def test_a_replaced_primary_is_left_although_it_serves(gateway, mock, servers):
    """Sentinels tell it only later; what it is told meanwhile is lost."""
    mock.behave(tokens=TOKENS, delay_ms=5)
    group = servers(SentinelGroup)
    old, new = group.servers
    one = gateway(workers=2, reuseport=True, **settings(group.url))
    with Load(one) as load:
        load.another(100)
        start = time.monotonic()
        group.failover()
        wait_until(lambda: group.primary() is new, "the replica is promoted")
        counts_again(load, group)
        end = time.monotonic()
        assert old.role() == "master"
        told = used(old)
        load.another(100)
        assert used(old) == told
    load.assert_nobody_waited()
    assert load.count(200) == len(load.answers)
    cost = sum(row["cost_nano_usd"] for row in one.wait_rows(len(load.answers)))
    meanwhile = sum(start < when + took and when < end for when, took, _ in load.answers)
    wait_until(lambda: lacks(new, cost) <= meanwhile, "most of it has arrived")


def test_a_silent_sentinel_is_passed_over(gateway, mock, servers):
    group = servers(SentinelGroup)
    first, second, _ = group.sentinels
    first.signal(signal.SIGSTOP)
    one = gateway(**settings(group.url, "deny"))
    wait_until(lambda: one.client.post(CHAT, json=BODY).status_code == 200, "the next one is asked")
    first.signal(signal.SIGCONT)
    second.signal(signal.SIGSTOP)  # it is the one that answered
    group.failover()
    wait_until(lambda: used(group.servers[1]) > 0 and group.primary() is group.servers[1], "promoted")
    before = used(group.servers[1])

    def counted():
        return one.client.post(CHAT, json=BODY).status_code == 200 and used(group.servers[1]) > before

    wait_until(counted, "the new primary counts", 20)


def test_a_mistaken_sentinel_is_passed_over(gateway, mock, servers, tmp_path):
    """As one that is cut off from the others: it names a primary that is gone."""
    group = servers(SentinelGroup)
    mistaken = Sentinel(tmp_path, [f"sentinel monitor {group.NAME} 127.0.0.1 {free_port()} 2"])
    with contextlib.ExitStack() as stack:
        stack.callback(mistaken.start().kill)
        url = group.url.replace("://", f"://{mistaken.address},")
        one = gateway(**settings(url, "deny"))
        wait_until(lambda: one.client.post(CHAT, json=BODY).status_code == 200, "others are asked")


def test_a_primary_that_may_not_write(gateway, mock, servers):
    """It waits for its replica: min-replicas-to-write is what makes it refuse."""
    group = servers(Group)
    primary, replica = group.servers
    primary.client.config_set("min-replicas-to-write", 1)
    info = lambda name: primary.client.info("replication")[name]  # noqa: E731
    wait_until(lambda: info("min_slaves_good_slaves") == 1, "it knows its replica")
    one = gateway(**settings(group.url, "deny", timeout_ms=5000))
    assert one.client.post(CHAT, json=BODY).status_code == 200
    replica.kill()
    wait_until(lambda: info("connected_slaves") == 0, "it is alone")
    assert one.client.post(CHAT, json=BODY).status_code == 503
    assert "llm: redis: NOREPLICAS" in one.error_log
    replica.start()
    wait_until(lambda: one.client.post(CHAT, json=BODY).status_code == 200, "it may write again")


def test_a_cluster_that_names_hosts(gateway, mock, servers):
    """To look a name up would block: that is said, and `on_failure` decides."""
    group = servers(Cluster)
    group.primary().client.config_set("cluster-announce-hostname", "redis.example")
    asked = group.other()
    asked.client.config_set("cluster-preferred-endpoint-type", "hostname")
    wait_until(lambda: "redis.example" in moved(asked), "it names the host")
    one = gateway(**settings(asked.url, "deny", timeout_ms=5000))
    assert one.client.post(CHAT, json=BODY).status_code == 503
    assert "MOVED names a host, not an address" in one.error_log
    asked.client.config_set("cluster-preferred-endpoint-type", "ip")
    wait_until(lambda: one.client.post(CHAT, json=BODY).status_code == 200, "it is found")


def moved(server):
    try:
        return server.client.get(redis_state.PREFIX)
    except redis.exceptions.ResponseError as error:
        return str(error)


def test_sentinels_that_name_hosts(gateway, mock, servers):
    group = servers(SentinelGroup, host="localhost")
    one = gateway(**settings(group.url, "deny", timeout_ms=5000))
    assert one.client.post(CHAT, json=BODY).status_code == 503
    assert "it names a host, not an address" in one.error_log


SENTINEL_LOGIN = f"?sentinel_password={SENTINEL_SECRET}"


def with_login(url, password, query=""):
    return url.replace("://", f"://:{password}@") + query


def test_passwords_of_servers_and_sentinels(gateway, mock, servers):
    group = servers(SentinelGroup, password=SECRET, sentinel_password=SENTINEL_SECRET)
    url = with_login(group.url, SECRET, SENTINEL_LOGIN)
    one = gateway(**settings(url, "deny", timeout_ms=5000))
    assert one.client.post(CHAT, json=BODY).status_code == 200
    kill_others(group)
    wait_until(lambda: one.client.post(CHAT, json=BODY).status_code == 200, "it serves again", 20)
    assert_tells_no_password(one)


@pytest.mark.parametrize("password, query", [("wr0ng", SENTINEL_LOGIN), (SECRET, "?sentinel_password=wr0ng"), (SECRET, "")])
def test_wrong_passwords(gateway, mock, servers, password, query):
    group = servers(SentinelGroup, password=SECRET, sentinel_password=SENTINEL_SECRET)
    url = with_login(group.url, password, query)
    one = gateway(**settings(url, "deny", timeout_ms=5000))
    assert one.client.post(CHAT, json=BODY).status_code == 503
    assert "llm: redis: WRONGPASS" in one.error_log or "llm: redis: NOAUTH" in one.error_log
    assert_tells_no_password(one)


def assert_tells_no_password(one):
    for secret in (SECRET, SENTINEL_SECRET, "wr0ng"):
        assert secret not in one.error_log
        assert secret not in one.stderr
