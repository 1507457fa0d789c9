"""A TCP proxy that harms what passes: late, lost, cut short, or never answered."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum, auto

from stack import readiness

_CHUNK = 65_536


class Fault(Enum):
    """What happens on the way."""

    NONE = auto()
    DELAY = auto()
    """Answers come `seconds` later."""
    DROP = auto()
    """Connections are reset, new ones at once."""
    HALF_OPEN = auto()
    """Connections that are used stay open and carry nothing any more, as when a cable is cut."""
    TRUNCATE = auto()
    """The first `size` bytes of an answer come, then the connection ends."""
    DEAF = auto()
    """The server gets the request and obeys; its answer is lost with the connection."""


@dataclass
class Harm:
    """A fault and its measure."""

    fault: Fault = Fault.NONE
    seconds: float = 0.0
    size: int = 0


class Proxy:
    """Stands between a client and a server of this machine; `harm` may change at any time."""

    def __init__(self, target: int) -> None:
        self.harm = Harm()
        self.port = 0
        self.opened = 0
        self.target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def open(self) -> int:
        """Clients that are connected now."""
        return len(self._tasks)

    def inflict(self, fault: Fault, *, seconds: float = 0.0, size: int = 0) -> None:
        """Harm from now on, on connections that are open as well."""
        self.harm = Harm(fault, seconds, size)
        if fault is Fault.DROP:
            self._reset()

    def heal(self) -> None:
        """Let everything pass. A connection that swallowed something will never be whole again."""
        self.harm = Harm()

    def _reset(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if self.harm.fault is Fault.DROP or task is None:
            writer.transport.abort()
            return
        self.opened += 1
        self._tasks.add(task)
        ends, ways = {writer}, []
        try:
            back, forth = await asyncio.open_connection(readiness.LOOPBACK, self.target)
            ends.add(forth)
            self._writers |= ends
            cut = asyncio.Event()
            ways = [
                asyncio.create_task(self._requests(reader, forth, cut)),
                asyncio.create_task(self._answers(back, writer, cut)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass  # the server is gone, and so is this connection
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._writers -= ends
            for end in ends:
                end.transport.abort()
            self._tasks.discard(task)

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event
    ) -> None:
        while data := await reader.read(_CHUNK):
            if self._cuts(cut):
                continue
            writer.write(data)
            await writer.drain()

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event
    ) -> None:
        while data := await reader.read(_CHUNK):
            if self._cuts(cut):
                continue
            harm = self.harm
            if harm.fault is Fault.DEAF:
                return
            if harm.fault is Fault.DELAY:
                await asyncio.sleep(harm.seconds)
            if harm.fault is Fault.TRUNCATE:
                data = data[: harm.size]
            writer.write(data)
            await writer.drain()
            if harm.fault is Fault.TRUNCATE:
                return

    def _cuts(self, cut: asyncio.Event) -> bool:
        if self.harm.fault is Fault.HALF_OPEN:
            cut.set()
        return cut.is_set()

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, target: int) -> AsyncIterator["Proxy"]:
        """Stand before a port until the block ends; connect to `port` instead."""
        proxy = cls(target)
        server = await asyncio.start_server(proxy._serve, readiness.LOOPBACK, 0)
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            server.close()
            proxy.inflict(Fault.DROP)
            await asyncio.gather(*proxy._tasks, return_exceptions=True)
