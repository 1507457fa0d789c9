"""The line to a Redis Cluster: a line to each master, and a map of which keys are whose."""

import asyncio
import random
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from typing import Any

from hiredis import ReplyError
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from service.cache.address import Address
from service.cache.backend import Patience, StoreUnavailableError
from service.cache.batch import Values
from service.cache.line import Line
from service.cache.wire import Command

RELEARN_SECONDS = 0.5
"""At most so often the map is asked for again."""
Node = tuple[str, int]


class Cluster:
    """Asks the masters of a cluster; each is up or down for itself.

    Args:
        seeds: Nodes to ask for the map, at least one; all are entered with the same credentials.
        timeout: Seconds that an answer may take.
        changed: Called with False when a master is left alone, and with True when all answer.
    """

    def __init__(
        self,
        seeds: tuple[Address, ...],
        timeout: float,
        changed: Callable[[bool], None] = lambda _up: None,
    ) -> None:
        self._way_in = seeds[0]
        self._seeds = [(seed.host, seed.port) for seed in seeds]
        self._timeout = timeout
        self._changed = changed
        self._lines: dict[Node, Line] = {}
        self._slots: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._learning: asyncio.Task[None] | None = None
        self._learned_at = float("-inf")

    @property
    def is_down(self) -> bool:
        """Whether a master is left alone."""
        return any(line.is_down for line in self._lines.values())

    async def send(self, *command: str | bytes | int, patience: Patience | None = None) -> Any:
        """Send one command.

        Raises:
            StoreUnavailableError: Its master is left alone, is late, or refuses.
        """
        return (await self.send_all(command, patience=patience))[0]

    async def send_all(self, *commands: Command, patience: Patience | None = None) -> list[Any]:
        """Send several commands, each to the master of its key; return their answers.

        Raises:
            StoreUnavailableError: One of them has no answer.
        """
        patience = patience or Patience(self._timeout)
        clock = asyncio.get_running_loop().time
        started, left = clock(), patience.left
        groups: dict[Node, list[int]] = {}
        for index, command in enumerate(commands):
            groups.setdefault(await self._node(_key(command)), []).append(index)
        try:
            found = await asyncio.gather(
                *(
                    self._line(node).ask(*(commands[i] for i in indexes), patience=Patience(left))
                    for node, indexes in groups.items()
                )
            )
        except StoreUnavailableError:
            self._learn_soon()
            raise
        finally:
            patience.left -= clock() - started
        by_index = dict(zip(chain(*groups.values()), chain(*found), strict=True))
        return [
            await self._settled(command, by_index[index], patience)
            for index, command in enumerate(commands)
        ]

    async def read(self, names: tuple[str, ...]) -> Values:
        """Read keys, each from its master."""
        groups: dict[Node, list[str]] = {}
        for name in names:
            groups.setdefault(await self._node(name), []).append(name)
        try:
            found = await asyncio.gather(
                *(self._line(node).read(tuple(group)) for node, group in groups.items())
            )
        except StoreUnavailableError as error:
            self._learn_soon()
            if isinstance(error.__cause__, ReplyError):  # moved: the long way follows it
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
        """What tells the runs of the keys' masters from all others: four bytes for each key.

        Of generations too: their master may have lost the newest, and the values be elsewhere.
        """
        nodes = (self._slots[key_slot(name.encode())] for name in names)
        return b"".join(b"" if node is None else self._line(node).origin(names) for node in nodes)

    @property
    def runs(self) -> dict[Node, bytes]:
        """Four bytes of each master that is connected, which tell its run from all others."""
        return {node: run for node, line in self._lines.items() for run in line.runs.values()}

    async def address(self) -> Address:
        """One of the masters: what is published on one is heard on all."""
        await self._node("")
        up = [node for node, line in self._lines.items() if not line.is_down]
        return self._way_in.at(*random.choice(up or self._seeds))  # noqa: S311 - spread

    async def close(self) -> None:
        """Disconnect."""
        if self._learning is not None:
            self._learning.cancel()
            await asyncio.gather(self._learning, return_exceptions=True)
        await asyncio.gather(*(line.close() for line in self._lines.values()))

    # -- Inside ------------------------------------------------------------------------------

    async def _settled(self, command: Command, answer: Any, patience: Patience) -> Any:
        """The answer, from where the key has gone if it has."""
        if not isinstance(answer, ReplyError):
            return answer
        kind, *rest = str(answer).split()
        if kind not in {"MOVED", "ASK"}:
            self._learn_soon()
            raise StoreUnavailableError("error") from answer
        host, _, port = rest[1].rpartition(":")
        commands: Iterable[Command] = (command,)
        if kind == "MOVED":
            self._learn_soon()
        else:
            commands = (("ASKING",), command)
        line = self._line((host or self._way_in.host, int(port)))
        return (await line.send_all(*commands, patience=patience))[-1]

    async def _node(self, name: str) -> Node:
        node = self._slots[key_slot(name.encode())]
        if node is None:
            await self._learn()
            node = self._slots[key_slot(name.encode())]
        if node is None:
            raise StoreUnavailableError("error")
        return node

    def _line(self, node: Node) -> Line:
        if node not in self._lines:
            self._lines[node] = Line(
                partial(self._at, node), self._timeout, self._tell, together=False
            )
        return self._lines[node]

    async def _at(self, node: Node) -> Address:
        return self._way_in.at(*node)

    def _tell(self, up: bool) -> None:  # noqa: FBT001 - the line's callback
        self._changed(up and not self.is_down)
        if not up:
            self._learn_soon()

    def _learn_soon(self) -> None:
        now = asyncio.get_running_loop().time()
        if (self._learning is None or self._learning.done()) and now > self._learned_at:
            self._learned_at = now + RELEARN_SECONDS
            self._learning = asyncio.get_running_loop().create_task(self._ask_for_map())

    async def _learn(self) -> None:
        self._learn_soon()
        if self._learning is not None:
            await asyncio.shield(self._learning)

    async def _ask_for_map(self) -> None:
        known = [node for node, line in self._lines.items() if not line.is_down]
        for node in dict.fromkeys((*known, *self._seeds)):
            try:
                ranges = await self._line(node).send("CLUSTER", "SLOTS")
            except StoreUnavailableError:
                continue
            if ranges:
                await self._use(ranges, node)
                return

    async def _use(self, ranges: list[Any], told_by: Node) -> None:
        slots: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, (host, port, *_), *_replicas in ranges:
            node = (host.decode() if host else told_by[0], port)
            slots[first : last + 1] = [node] * (last + 1 - first)
        self._slots = slots
        gone = [n for n in self._lines if n not in set(slots) and n not in self._seeds]
        for node in gone:
            await self._lines.pop(node).close()


def _key(command: Command) -> str:
    return str(command[3 if command[0] == "EVAL" else 1]) if len(command) > 1 else ""
