"""TCP proxy that injects network faults: delays, resets, truncated and lost responses."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum, auto

from stack import readiness

_CHUNK = 65_536


class Fault(Enum):
    """The injected fault."""

    NONE = auto()
    DELAY = auto()
    """Responses arrive `seconds` later."""
    DROP = auto()
    """Connections are reset, new ones immediately."""
    HALF_OPEN = auto()
    """Connections stay open but transfer nothing once used, as when a cable is cut."""
    TRUNCATE = auto()
    """The first `size` bytes of a response arrive, then the connection ends."""
    RESPONSE_LOST = auto()
    """The server executes the request; its response is lost with the connection."""


@dataclass
class ActiveFault:
    """A fault with its parameters."""

    fault: Fault = Fault.NONE
    seconds: float = 0.0
    size: int = 0


class Proxy:
    """A proxy between a client and a local server; the fault may change at any time."""

    def __init__(self, target: int) -> None:
        self.active = ActiveFault()
        self.port = 0
        self.opened = 0
        self.target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def open(self) -> int:
        """Number of connected clients."""
        return len(self._tasks)

    def inject(self, fault: Fault, *, seconds: float = 0.0, size: int = 0) -> None:
        """Inject a fault from now on, also on open connections."""
        self.active = ActiveFault(fault, seconds, size)
        if fault is Fault.DROP:
            self._reset()

    def clear(self) -> None:
        """Stop injecting faults. A half-open connection that lost data stays broken."""
        self.active = ActiveFault()

    def _reset(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if self.active.fault is Fault.DROP or task is None:
            writer.transport.abort()
            return
        self.opened += 1
        self._tasks.add(task)
        writers, directions = {writer}, []
        try:
            back, forth = await asyncio.open_connection(readiness.LOOPBACK, self.target)
            writers.add(forth)
            self._writers |= writers
            cut = asyncio.Event()
            directions = [
                asyncio.create_task(self._requests(reader, forth, cut)),
                asyncio.create_task(self._responses(back, writer, cut)),
            ]
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass  # the server is down: close this connection
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            self._writers -= writers
            for peer in writers:
                peer.transport.abort()
            self._tasks.discard(task)

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event
    ) -> None:
        while data := await reader.read(_CHUNK):
            if self._cuts(cut):
                continue
            writer.write(data)
            await writer.drain()

    async def _responses(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event
    ) -> None:
        while data := await reader.read(_CHUNK):
            if self._cuts(cut):
                continue
            active = self.active
            if active.fault is Fault.RESPONSE_LOST:
                return
            if active.fault is Fault.DELAY:
                await asyncio.sleep(active.seconds)
            if active.fault is Fault.TRUNCATE:
                data = data[: active.size]
            writer.write(data)
            await writer.drain()
            if active.fault is Fault.TRUNCATE:
                return

    def _cuts(self, cut: asyncio.Event) -> bool:
        if self.active.fault is Fault.HALF_OPEN:
            cut.set()
        return cut.is_set()

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, target: int) -> AsyncIterator["Proxy"]:
        """Run a proxy for a port until the block ends; connect to `port` instead."""
        proxy = cls(target)
        server = await asyncio.start_server(proxy._serve, readiness.LOOPBACK, 0)
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            server.close()
            proxy.inject(Fault.DROP)
            await asyncio.gather(*proxy._tasks, return_exceptions=True)
