"""Client of a Redis Cluster: one node per primary, and the slot map."""

import asyncio
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, MovedError, RedisError

from vitals.cache.core.store import StoreUnavailableError, TimeoutBudget
from vitals.cache.redis.batch import Values
from vitals.cache.redis.connection import Command, Connection
from vitals.cache.redis.node import Node
from vitals.cache.redis.url import RedisUrl, Server
from vitals.random_numbers import RANDOM

REFRESH_SECONDS = 0.5
"""Shortest interval between refreshes of the slot map."""


class ClusterClient:
    """Sends each command to the primary of its key; see ``RedisClient``.

    Each primary has a circuit breaker of its own.

    Args:
        url: Names nodes to fetch the slot map from; all take the same credentials.
        timeout: Seconds that a reply may take.
        changed: Called with False when a circuit opens, and with True when all are closed.
        failed: Called with the reason of each attempt to connect that failed.
    """

    def __init__(
        self,
        url: RedisUrl,
        timeout: float,
        changed: Callable[[bool], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._url = url
        self._timeout = timeout
        self._changed = changed
        self._failed = failed
        self._nodes: dict[Server, Node] = {}
        self._slots: list[Server | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._covered = True
        self._refreshing: asyncio.Task[None] | None = None
        self._refreshed_at = float("-inf")
        self._reported_open = False

    @property
    def is_open(self) -> bool:
        """Whether callers are refused: a circuit is open, or a slot has no primary."""
        return not self._covered or any(node.is_open for node in self._nodes.values())

    async def send(self, *command: str | bytes | int, budget: TimeoutBudget | None = None) -> Any:
        """Send one command.

        Raises:
            StoreUnavailableError: Its primary is unavailable, late, or refuses.
        """
        return (await self.send_all(command, budget=budget))[0]

    async def send_all(self, *commands: Command, budget: TimeoutBudget | None = None) -> list[Any]:
        """Send several commands, each to the primary of its key; return their replies.

        Raises:
            StoreUnavailableError: One of them has no reply.
        """
        budget = budget or TimeoutBudget(self._timeout)
        clock = asyncio.get_running_loop().time
        started, left = clock(), budget.remaining
        groups: dict[Server, list[int]] = {}
        for index, command in enumerate(commands):
            groups.setdefault(await self._server(_key(command)), []).append(index)
        try:
            found = await asyncio.gather(
                *(
                    self._node(server).execute(
                        *(commands[i] for i in indexes), budget=TimeoutBudget(left)
                    )
                    for server, indexes in groups.items()
                )
            )
        except StoreUnavailableError:
            self._refresh_soon()
            raise
        finally:
            budget.remaining -= clock() - started
        by_index = dict(zip(chain(*groups.values()), chain(*found), strict=True))
        return [
            await self._follow_redirect(command, by_index[index], budget)
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
            if isinstance(error.__cause__, AskError):  # redirected: send_all follows it
                moved = await self.send_all(*(("GET", name) for name in names))
                return self.origin(names), moved
            raise
        values = {
            name: (origin, value)
            for group, (origin, replies) in zip(groups.values(), found, strict=True)
            for name, value in zip(group, replies, strict=True)
        }
        origins = b"".join(values[name][0] for name in names)
        return origins, [values[name][1] for name in names]

    def origin(self, names: tuple[str, ...]) -> bytes:
        """Return the run ids of the keys' primaries, four bytes for each key.

        Includes those of generations: their primary may have lost the newest tokens while the
        values are on another one.
        """
        servers = (self._slots[key_slot(name.encode())] for name in names)
        return b"".join(b"" if server is None else self._node(server).run_id for server in servers)

    @property
    def run_ids(self) -> dict[Server, bytes]:
        """Run id (four bytes) of each connected primary."""
        return {server: node.run_id for server, node in self._nodes.items() if node.run_id}

    async def subscriber(self) -> Connection:
        """Return a connection to one of the primaries: all receive what one publishes."""
        await self._server("")
        up = [server for server, node in self._nodes.items() if not node.is_open]
        return self._connection(RANDOM.choice(up or self._url.servers))

    async def close(self) -> None:
        """Disconnect."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        await asyncio.gather(*(node.close() for node in self._nodes.values()))

    # -- Redirections ------------------------------------------------------------------------

    async def _follow_redirect(self, command: Command, reply: Any, budget: TimeoutBudget) -> Any:
        """Return the reply, from the key's new node if it is a redirection."""
        if not isinstance(reply, RedisError):
            return reply
        if not isinstance(reply, AskError):  # of which MOVED is one
            self._refresh_soon()
            raise StoreUnavailableError("error") from reply
        commands: Iterable[Command] = (("ASKING",), command)
        if isinstance(reply, MovedError):
            self._refresh_soon()
            commands = (command,)
        node = self._node((reply.host or self._url.servers[0][0], reply.port))
        found = (await node.execute(*commands, budget=budget))[-1]
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
            self._nodes[server] = Node(
                connection, self._timeout, self._on_availability, self._failed, use_mget=False
            )
        return self._nodes[server]

    def _connection(self, server: Server) -> Connection:
        return Connection(self._url.connection_options(server), is_primary=False)

    def _on_availability(self, available: bool) -> None:  # noqa: FBT001 - the node's callback
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
            self._refreshing = loop.create_task(self._fetch_slots())

    async def _refresh(self) -> None:
        self._refresh_soon()
        if self._refreshing is not None:
            await asyncio.shield(self._refreshing)

    async def _fetch_slots(self) -> None:
        known = [server for server, node in self._nodes.items() if not node.is_open]
        for server in dict.fromkeys((*known, *self._url.servers)):
            try:
                [ranges] = await self._node(server).execute(("CLUSTER", "SLOTS"))
            except StoreUnavailableError:
                continue
            if ranges and isinstance(ranges, list):
                await self._use(ranges, server)
                return

    async def _use(self, ranges: list[Any], source: Server) -> None:
        slots: list[Server | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, (host, port, *_), *_replicas in ranges:
            server = (host.decode() if host else source[0], port)
            slots[first : last + 1] = [server] * (last + 1 - first)
        self._slots = slots
        self._covered = None not in slots
        gone = [self._nodes.pop(server) for server in [*self._nodes] if server not in slots]
        self._report()
        await asyncio.gather(*(node.close() for node in gone))


def _key(command: Command) -> str:
    return str(command[3 if command[0] == "EVAL" else 1]) if len(command) > 1 else ""
