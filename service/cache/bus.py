"""The bus: what other processes invalidate, told by Redis as it happens."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

from service.cache.address import Address
from service.cache.wire import Wire

log = logging.getLogger(__name__)

PING_SECONDS = 0.5
"""A connection that hangs is noticed so soon, and the timeout later."""
PAUSE_SECONDS = 0.2


class Bus:
    """Listens, for as long as it can; who hears nothing must keep nothing.

    Args:
        find: Tells where to listen, before each attempt.
        channel: Where invalidated names are published.
        timeout: Seconds that a sign of life may take.
        heard: Called with each name.
        changed: Called with True from when on every name is heard, and with False when it is not
            any more.
    """

    def __init__(
        self,
        find: Callable[[], Awaitable[Address]],
        channel: str,
        timeout: float,
        heard: Callable[[str], None],
        changed: Callable[[bool], None],
    ) -> None:
        self._find = find
        self._channel = channel
        self._timeout = timeout
        self._heard = heard
        self._changed = changed
        self._task: asyncio.Task[None] | None = None
        self._tried: asyncio.Event | None = None

    async def start(self) -> None:
        """Begin to listen; returns after the first attempt."""
        self._tried = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._listen(self._tried))
        await self._tried.wait()

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self, tried: asyncio.Event) -> None:
        while True:
            wire = Wire(self._timeout, self._lost, self._hear)
            try:
                async with asyncio.timeout(self._timeout):
                    await wire.open(await self._find())
                    await wire.send(("SUBSCRIBE", self._channel))
                self._changed(True)
                tried.set()
                while True:
                    await asyncio.sleep(PING_SECONDS)
                    await wire.send(("PING",))
            except Exception as error:  # noqa: BLE001 - whatever it is: the start waits for us
                log.info("the cache's bus is not connected: %s", error)
            finally:
                self._changed(False)
                await wire.close()
            tried.set()
            await asyncio.sleep(PAUSE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - spread

    def _lost(self, _wire: Wire, _late: bool) -> None:  # noqa: FBT001 - the wire's callback
        self._changed(False)  # at once: whoever wrote will not wait for our next sign of life

    def _hear(self, message: Any) -> None:
        self._heard(message[2].decode(errors="surrogateescape"))
