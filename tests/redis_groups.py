"""Groups of Redis servers: a Redis Cluster, and a master with a replica and Sentinel."""

import time
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

from redis import Redis as Client
from redis.exceptions import RedisError

from stack import readiness
from stack.installation import service_user
from stack.process.process import Program
from tests.servers import Redis, Server, temporary_folder

SLOTS = 16_384
MASTER_NAME = "vitals"
_DEADLINE = 30.0


def until(condition: Callable[[], bool], what: str, seconds: float = _DEADLINE) -> None:
    """Poll until a condition is true.

    Raises:
        TimeoutError: It was not in time; the message says what.
    """
    deadline = time.monotonic() + seconds
    while not _check(condition):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


def _check(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except (RedisError, OSError):
        return False


class Cluster:
    """A Redis Cluster of masters without replicas, each with its share of the slots.

    Without a master only its own slots are unavailable.

    Args:
        masters: Number of masters.
        tls: TLS lines of their configuration, also for the cluster bus.
    """

    def __init__(self, masters: int = 3, tls: Sequence[str] = ()) -> None:
        self.ports = [readiness.free_port() for _ in range(masters)] if tls else []
        self.buses = [readiness.free_port() for _ in range(masters)]
        self.nodes = [
            Redis(
                more=(
                    "cluster-enabled yes",
                    f"cluster-port {bus}",  # the default, port + 10,000, may be invalid
                    "cluster-node-timeout 1000",
                    "cluster-require-full-coverage no",
                    "cluster-allow-reads-when-down yes",
                    *(("tls-cluster yes", f"tls-port {port}", *tls) if port else ()),
                )
            )
            for bus, port in zip_longest(self.buses, self.ports)
        ]
        self.ports = self.ports or [node.port for node in self.nodes]
        self.clients: list[Any] = [Client.from_url(node.url) for node in self.nodes]
        first = self.clients[0]
        for number, client in enumerate(self.clients):
            begin, end = number * SLOTS // masters, (number + 1) * SLOTS // masters - 1
            client.execute_command("CLUSTER ADDSLOTSRANGE", begin, end)
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            if number:
                at = self.ports[number], self.buses[number]
                first.execute_command("CLUSTER MEET", readiness.LOOPBACK, *at)
        self.wait()

    @property
    def port(self) -> int:
        """Port of one node; a client discovers the others through it."""
        return self.ports[0]

    def wait(self) -> None:
        """Wait until every node knows the owners of all slots."""
        until(lambda: all(self._knows(client) for client in self.clients), "a complete cluster")

    def start(self) -> None:
        """Restart nodes that a test stopped, and wait for the cluster."""
        for node in self.nodes:
            node.resume()
            node.start()
        self.wait()

    def flush(self) -> None:
        """Delete all data."""
        for client in self.clients:
            client.flushall()

    def owner(self, key: str) -> int:
        """The index of the node that owns a key."""
        slot = self.clients[0].execute_command("CLUSTER KEYSLOT", key)
        ports = [node.port for node in self.nodes]
        for begin, end, (_, port, *_), *_ in self.clients[0].execute_command("CLUSTER SLOTS"):
            if begin <= slot <= end:
                return ports.index(port)
        raise LookupError(f"slot {slot} has no owner")

    def move(self, key: str, to: int) -> None:
        """Migrate the slot of a key to another node."""
        source, target = self.clients[self.owner(key)], self.clients[to]
        slot = source.execute_command("CLUSTER KEYSLOT", key)
        ids = [client.execute_command("CLUSTER MYID") for client in (source, target)]
        target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[0])
        source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[1])
        where = readiness.LOOPBACK, self.nodes[to].port
        while keys := source.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
            source.execute_command("MIGRATE", *where, "", 0, 5000, "KEYS", *keys)
        # All nodes must agree before the next migration: a node that takes a slot without knowing
        # the newest epoch takes it with an older one, and loses it again.
        others = [client for client in self.clients if client not in (source, target)]
        for client in (target, source, *others):
            client.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[1])
        until(self._agree, "one map of the slots")

    def close(self) -> None:
        """Stop and remove all data."""
        for client in self.clients:
            client.close()
        for node in self.nodes:
            node.close()

    def _agree(self) -> bool:
        views = [self._view(client) for client in self.clients]
        return all(view == views[0] for view in views)

    @staticmethod
    def _view(client: Any) -> dict[str, Any]:
        """The owner and epoch of each slot, as a node knows them."""
        nodes = client.execute_command("CLUSTER NODES").values()
        newest = client.execute_command("CLUSTER INFO")["cluster_current_epoch"]
        return {"newest": newest} | {
            node["node_id"]: (node["epoch"], node["slots"]) for node in nodes
        }

    def _knows(self, client: Any) -> bool:
        info = client.execute_command("CLUSTER INFO")
        reached = int(info["cluster_known_nodes"]) == len(self.nodes)
        return reached and info["cluster_state"] == "ok" and int(info["cluster_slots_ok"]) == SLOTS


class SentinelGroup:
    """A master, its replica, and a sentinel that fails over to the replica.

    Args:
        password: Of the servers.
        sentinel_password: Of the sentinel.
    """

    def __init__(
        self, *, password: str | None = None, sentinel_password: str | None = None
    ) -> None:
        more = ("repl-diskless-sync-delay 0", *((f"masterauth {password}",) if password else ()))
        self.servers = [Redis(password=password, more=more) for _ in range(2)]
        first, second = self.servers
        self.clients: list[Any] = [
            Client.from_url(server.url, password=password) for server in self.servers
        ]
        self.clients[1].replicaof(readiness.LOOPBACK, first.port)
        until(lambda: self._replicates(second), "a replica")
        self.sentinel = _sentinel(first.port, password, sentinel_password)
        self._sentinel_client: Any = Client(
            port=self.sentinel.port, password=sentinel_password, decode_responses=True
        )
        until(lambda: self._state()["num-slaves"] == 1, "a sentinel that knows the replica")

    @property
    def port(self) -> int:
        """Port of the sentinel."""
        return self.sentinel.port

    @property
    def master(self) -> Redis:
        """The server that the sentinel reports as master."""
        port = self._state()["port"]
        return next(server for server in self.servers if server.port == port)

    def start(self) -> None:
        """Restart what a test stopped; wait until there is a master with a replica."""
        for server in self.servers:
            server.resume()
            server.start()
        master = self.master
        for server, client in zip(self.servers, self.clients, strict=True):
            if server is not master:
                client.replicaof(readiness.LOOPBACK, master.port)  # the sentinel would, in 10 s
        until(self._whole, "a master with its replica")

    def flush(self) -> None:
        """Delete all data."""
        self.clients[self.servers.index(self.master)].flushall()

    def close(self) -> None:
        """Stop and remove all data."""
        for client in (*self.clients, self._sentinel_client):
            client.close()
        for server in (self.sentinel, *self.servers):
            server.close()

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = self._sentinel_client.sentinel_master(MASTER_NAME)
        return state

    def _replicates(self, server: Redis) -> bool:
        info = self.clients[self.servers.index(server)].info("replication")
        return bool(info["role"] == "slave" and info["master_link_status"] == "up")

    def _whole(self) -> bool:
        master = self.master
        role = self.clients[self.servers.index(master)].info("replication")["role"]
        others = (server for server in self.servers if server is not master)
        return bool(role == "master" and all(self._replicates(other) for other in others))


def _sentinel(master: int, password: str | None, own_password: str | None) -> Server:
    """Start a single sentinel that fails over half a second after the last reply of the master."""
    folder, port, user = temporary_folder(), readiness.free_port(), service_user.default_user()
    config = folder / "sentinel.conf"
    lines = (
        f"bind {readiness.LOOPBACK}",
        f"port {port}",
        f"dir {folder}",
        f"sentinel monitor {MASTER_NAME} {readiness.LOOPBACK} {master} 1",
        f"sentinel down-after-milliseconds {MASTER_NAME} 500",
        f"sentinel failover-timeout {MASTER_NAME} 3000",
        *((f"sentinel auth-pass {MASTER_NAME} {password}",) if password else ()),
        *((f"requirepass {own_password}",) if own_password else ()),
    )
    config.write_text("\n".join(lines) + "\n")
    if user:
        user.chown(folder)  # it writes into its configuration
    program = Program(
        "sentinel",
        ["redis-server", str(config), "--sentinel"],
        user=user,
        cwd=folder,
        grace=5.0,
    )
    server = Server(folder, port, program, lambda: readiness.redis_answers(port))
    server.start()
    return server
