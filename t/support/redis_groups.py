"""Redis servers that stand in for each other: with replicas, Sentinels, or as a Cluster."""

import subprocess

import redis

from support.redis_state import PREFIX
from support.servers import Redis
from support.paths import program
from support.waiting import free_port, wait_until


class Group:
    """Servers of which one is the primary and the others follow it."""

    def __init__(self, directory, size=2, password=None):
        self.servers = []
        for number in range(size):
            place = directory / f"redis{number}"
            place.mkdir()
            self.servers.append(Redis(place, password))

    def start(self):
        first, *others = self.servers
        first.start()
        for other in others:
            other.start(replicaof=f"127.0.0.1 {first.port}")
        wait_until(lambda: all(map(follows, others)), "the replicas have caught up")
        return self

    @property
    def url(self):
        """Replicas first: the primary has to be found."""
        return "redis://" + ",".join(server.address for server in reversed(self.servers)) + "/0"

    def primary(self):
        return next(server for server in self.servers if is_primary(server))

    def replica(self):
        return next(server for server in self.servers if follows(server))

    def stop(self):
        for server in self.servers:
            server.kill()


class SentinelGroup(Group):
    """A primary, a replica, and three Sentinels of which two have to agree.

    `host`: what the Sentinels call it by.
    """

    NAME = "budgets"
    DOWN_AFTER_MS = 500

    def __init__(self, directory, password=None, sentinel_password=None, host="127.0.0.1"):
        super().__init__(directory, password=password)
        self._host = host
        self._directory, self._password = directory, password
        self._sentinel_password = sentinel_password
        self.sentinels = []

    def start(self):
        super().start()
        self.sentinels = [self._start_sentinel(number) for number in range(3)]
        wait_until(self._know_each_other, "the Sentinels know each other and the replica", 20)
        return self

    def _start_sentinel(self, number):
        place = self._directory / f"sentinel{number}"
        place.mkdir()
        name, names_hosts = self.NAME, "no" if self._host == "127.0.0.1" else "yes"
        lines = [
            f"sentinel resolve-hostnames {names_hosts}",
            f"sentinel announce-hostnames {names_hosts}",
            f"sentinel monitor {name} {self._host} {self.servers[0].port} 2",
            f"sentinel down-after-milliseconds {name} {self.DOWN_AFTER_MS}",
            f"sentinel failover-timeout {name} 5000",
        ]
        if self._password:
            lines.append(f"sentinel auth-pass {name} {self._password}")
        if self._sentinel_password:
            lines.append(f"sentinel sentinel-pass {self._sentinel_password}")
        return Sentinel(place, lines, self._sentinel_password).start()

    def _know_each_other(self):
        states = [one.client.sentinel_master(self.NAME) for one in self.sentinels]
        return all(s["num-other-sentinels"] == 2 and s["num-slaves"] == 1 for s in states)

    @property
    def url(self):
        return "redis+sentinel://" + ",".join(s.address for s in self.sentinels) + f"/{self.NAME}"

    def primary(self):
        """The one that the Sentinels name: one that they replaced may take itself for it still."""
        _, port = self.sentinels[0].client.sentinel_get_master_addr_by_name(self.NAME)
        return next(server for server in self.servers if server.port == port)

    def failover(self):
        """Asks for it; the primary is well and does not hear of it for ten seconds."""
        self.sentinels[0].client.execute_command("SENTINEL", "FAILOVER", self.NAME)

    def stop(self):
        for sentinel in self.sentinels:
            sentinel.kill()
        super().stop()


class Sentinel(Redis):
    """`lines`: of its sentinel.conf, which it keeps its state in."""

    def __init__(self, directory, lines, password=None):
        super().__init__(directory, password)
        self._conf = directory / "sentinel.conf"
        lines = [*lines, f"port {self.port}", "bind 127.0.0.1", f"dir {directory}"]
        if password:
            lines.append(f"requirepass {password}")
        self._conf.write_text("\n".join(lines) + "\n")

    def start(self):
        with open(self._directory / "redis.log", "a") as log:
            command = [program("redis-server"), str(self._conf), "--sentinel"]
            self._process = subprocess.Popen(command, stdout=log)
        wait_until(self._answers, "the Sentinel answers")
        return self


class Cluster:
    """Three primaries and a replica of the one that has the ledger's slot."""

    NODE_TIMEOUT_MS = 1000

    def __init__(self, directory):
        self.servers = []
        for number in range(4):
            place = directory / f"node{number}"
            place.mkdir()
            bus = {"cluster_enabled": "yes", "cluster_port": free_port()}
            timeout = {"cluster_node_timeout": self.NODE_TIMEOUT_MS}
            self.servers.append(Redis(place, **bus, **timeout))

    def start(self):
        *nodes, spare = [server.start() for server in self.servers]
        self._cli("create", *(node.address for node in nodes), "--cluster-yes")
        wait_until(lambda: all(map(self._is_complete, nodes)), "the cluster is complete", 20)
        owner = next(node for node in nodes if has_slot(node))
        node_id = owner.client.execute_command("CLUSTER", "MYID").decode()
        self._cli("add-node", spare.address, owner.address, "--cluster-slave", "--cluster-master-id", node_id)
        wait_until(lambda: follows(spare), "the replica has caught up", 20)
        wait_until(lambda: all(knows(s, 4) for s in self.servers), "all know the replica", 20)
        return self

    def _cli(self, *arguments):
        command = [program("redis-cli"), "--cluster", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def _is_complete(self, node):
        return b"cluster_state:ok" in node.client.execute_command("CLUSTER", "INFO")

    def primary(self):
        """Of the ledger's slot."""
        return next(server for server in self.servers if has_slot(server))

    def replica(self):
        return next(server for server in self.servers if follows(server))

    def other(self):
        """A node without the slot."""
        return next(s for s in self.servers if is_primary(s) and not has_slot(s))

    def stop(self):
        for server in self.servers:
            server.kill()


def is_primary(server):
    try:
        return server.role() == "master"
    except redis.ConnectionError:
        return False


def follows(server):
    """It is a replica and has caught up."""
    try:
        role = server.client.role()
    except redis.ConnectionError:
        return False
    return role[0] == b"slave" and role[3] == b"connected"


def has_slot(server):
    if not is_primary(server):
        return False
    try:
        server.client.get(PREFIX)
        return True
    except (redis.exceptions.MovedError, redis.exceptions.ResponseError):
        return False


def knows(server, nodes):
    """It has exchanged news with so many nodes."""
    lines = server.client.execute_command("CLUSTER", "NODES").decode().splitlines()
    return len(lines) == nodes and not any("handshake" in line for line in lines)
