"""The client of a Redis Cluster: a node for each primary, and a map of which keys are whose."""

import asyncio
import random
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, MovedError, RedisError

from service.cache.core.store import Patience, StoreUnavailableError
from service.cache.redis.batch import Values
from service.cache.redis.connection import Command, Connection
from service.cache.redis.node import Node
from service.cache.redis.url import RedisUrl, Server

REFRESH_SECONDS = 0.5
"""At most so often the map of slots is asked for again."""


class ClusterClient:
    """Sends each command to the primary of its key; see ``RedisClient``.

    Each primary has a circuit breaker of its own.

    Args:
        url: Names nodes to ask for the map; all are entered with the same credentials.
        timeout: Seconds that an answer may take.
        changed: Called with False when a circuit opens, and with True when all are closed.
    """

    def __init__(self, url: RedisUrl, timeout: float, changed: Callable[[bool], None]) -> None:
        self._url = url
        self._timeout = timeout
        self._changed = changed
        self._nodes: dict[Server, Node] = {}
        self._slots: list[Server | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._covered = True
        self._refreshing: asyncio.Task[None] | None = None
        self._refreshed_at = float("-inf")
        self._reported_open = False

    @property
    def is_open(self) -> bool:
        """Whether callers are turned away: a circuit is open, or a slot has no primary."""
        return not self._covered or any(node.is_open for node in self._nodes.values())

    async def send(self, *command: str | bytes | int, patience: Patience | None = None) -> Any:
        """Send one command.

        Raises:
            StoreUnavailableError: Its primary is unavailable, late, or refuses.
        """
        return (await self.send_all(command, patience=patience))[0]

    async def send_all(self, *commands: Command, patience: Patience | None = None) -> list[Any]:
        """Send several commands, each to the primary of its key; return their answers.

        Raises:
            StoreUnavailableError: One of them has no answer.
        """
        patience = patience or Patience(self._timeout)
        clock = asyncio.get_running_loop().time
        started, left = clock(), patience.left
        groups: dict[Server, list[int]] = {}
        for index, command in enumerate(commands):
            groups.setdefault(await self._server(_key(command)), []).append(index)
        try:
            found = await asyncio.gather(
                *(
                    self._node(server).ask(*(commands[i] for i in indexes), patience=Patience(left))
                    for server, indexes in groups.items()
                )
            )
        except StoreUnavailableError:
            self._refresh_soon()
            raise
        finally:
            patience.left -= clock() - started
        by_index = dict(zip(chain(*groups.values()), chain(*found), strict=True))
        return [
            await self._settled(command, by_index[index], patience)
            for index, command in enumerate(commands)
        ]

    async def read(self, names: tuple[str, ...]) -> Values:
        """Read keys, each from its primary."""
        groups: dict[Server, list[str]] = {}
        for name in names:
            groups.setdefault(await self._server(name), []).append(name)
        try:
            found = await asyncio.gather(
                *(self._node(server).read(tuple(group)) for server, group in groups.items())
            )
        except StoreUnavailableError as error:
            self._refresh_soon()
            if isinstance(error.__cause__, AskError):  # moved: the long way follows it
                moved = await self.send_all(*(("GET", name) for name in names))
                return self.origin(names), moved
            raise
        values = {
            name: (origin, value)
            for group, (origin, answers) in zip(groups.values(), found, strict=True)
            for name, value in zip(group, answers, strict=True)
        }
        origins = b"".join(values[name][0] for name in names)
        return origins, [values[name][1] for name in names]

    def origin(self, names: tuple[str, ...]) -> bytes:
        """What identifies the runs of the keys' primaries: four bytes for each key.

        Of generations too: their primary may have lost the newest, and the values be elsewhere.
        """
        servers = (self._slots[key_slot(name.encode())] for name in names)
        return b"".join(b"" if server is None else self._node(server).run for server in servers)

    @property
    def runs(self) -> dict[Server, bytes]:
        """Four bytes of each primary that is connected, which identify its run."""
        return {server: node.run for server, node in self._nodes.items() if node.run}

    async def subscriber(self) -> Connection:
        """A connection to one of the primaries: what is published on one is received on all."""
        await self._server("")
        up = [server for server, node in self._nodes.items() if not node.is_open]
        return self._connection(random.choice(up or self._url.servers))  # noqa: S311 - spread

    async def close(self) -> None:
        """Disconnect."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        await asyncio.gather(*(node.close() for node in self._nodes.values()))

    # -- Redirections ------------------------------------------------------------------------

    async def _settled(self, command: Command, answer: Any, patience: Patience) -> Any:
        """The answer, from where the key has gone if it has."""
        if not isinstance(answer, RedisError):
            return answer
        if not isinstance(answer, AskError):  # of which MOVED is one
            self._refresh_soon()
            raise StoreUnavailableError("error") from answer
        commands: Iterable[Command] = (("ASKING",), command)
        if isinstance(answer, MovedError):
            self._refresh_soon()
            commands = (command,)
        node = self._node((answer.host or self._url.servers[0][0], answer.port))
        found = (await node.ask(*commands, patience=patience))[-1]
        if isinstance(found, RedisError):
            raise StoreUnavailableError("error") from found
        return found

    # -- Nodes and their slots ---------------------------------------------------------------

    async def _server(self, name: str) -> Server:
        slot = key_slot(name.encode())
        if self._slots[slot] is None:
            await self._refresh()
        server = self._slots[slot]
        if server is None:
            raise StoreUnavailableError("error")
        return server

    def _node(self, server: Server) -> Node:
        if server not in self._nodes:
            connection = self._connection(server)
            self._nodes[server] = Node(connection, self._timeout, self._tell, together=False)
        return self._nodes[server]

    def _connection(self, server: Server) -> Connection:
        return Connection(self._url.connection_options(server), is_primary=False)

    def _tell(self, available: bool) -> None:  # noqa: FBT001 - the node's callback
        self._report()
        if not available:
            self._refresh_soon()

    def _report(self) -> None:
        if self._reported_open != self.is_open:
            self._reported_open = self.is_open
            self._changed(not self._reported_open)

    def _refresh_soon(self) -> None:
        loop = asyncio.get_running_loop()
        if (self._refreshing is None or self._refreshing.done()) and (
            loop.time() > self._refreshed_at
        ):
            self._refreshed_at = loop.time() + REFRESH_SECONDS
            self._refreshing = loop.create_task(self._ask_for_slots())

    async def _refresh(self) -> None:
        self._refresh_soon()
        if self._refreshing is not None:
            await asyncio.shield(self._refreshing)

    async def _ask_for_slots(self) -> None:
        known = [server for server, node in self._nodes.items() if not node.is_open]
        for server in dict.fromkeys((*known, *self._url.servers)):
            try:
                [ranges] = await self._node(server).ask(("CLUSTER", "SLOTS"))
            except StoreUnavailableError:
                continue
            if ranges and isinstance(ranges, list):
                await self._use(ranges, server)
                return

    async def _use(self, ranges: list[Any], told_by: Server) -> None:
        slots: list[Server | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, (host, port, *_), *_replicas in ranges:
            server = (host.decode() if host else told_by[0], port)
            slots[first : last + 1] = [server] * (last + 1 - first)
        self._slots = slots
        self._covered = None not in slots
        gone = [self._nodes.pop(server) for server in [*self._nodes] if server not in slots]
        self._report()
        await asyncio.gather(*(node.close() for node in gone))


def _key(command: Command) -> str:
    return str(command[3 if command[0] == "EVAL" else 1]) if len(command) > 1 else ""
