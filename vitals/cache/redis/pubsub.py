"""Subscriber of the invalidation bus: the Redis channel on which processes publish invalidations.

It owns its connection instead of using redis-py's ``PubSub``, which reconnects by itself and hides
that messages were missed meanwhile.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from vitals.cache.redis.connection import Connection, describe_failure
from vitals.random_numbers import RANDOM

log = logging.getLogger(__name__)

PING_SECONDS = 0.5
"""Idle time after which the connection is checked with a PING."""
PAUSE_SECONDS = 0.2


class Subscriber:
    """Receives invalidated names; while it is not connected, the L1 cache must be inactive.

    Args:
        connect: Makes a connection, not open, before each attempt.
        channel: Where invalidated names are published.
        timeout: Seconds that connecting and a PING may take.
        received: Called with each name.
        changed: Called with True when subscribed, and with False when disconnected.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        channel: str,
        timeout: float,
        received: Callable[[str], None],
        changed: Callable[[bool], None],
    ) -> None:
        self._connect = connect
        self._channel = channel
        self._timeout = timeout
        self._received = received
        self._changed = changed
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Subscribe; returns after the first attempt."""
        tried = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run(tried))
        await tried.wait()

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, tried: asyncio.Event) -> None:
        connected: bool | None = None
        while True:
            connection: Connection | None = None
            try:
                async with asyncio.timeout(self._timeout):
                    connection = await self._connect()
                    await connection.open()
                    await connection.send(("SUBSCRIBE", self._channel))
                    if await connection.receive(self._timeout) is None:
                        raise TimeoutError("not subscribed")  # noqa: TRY301 - as a late PING
                if connected is False:
                    log.info("invalidation bus connected (%s)", connection.address)
                connected = True
                self._changed(True)
                tried.set()
                await self._receive(connection)
            except Exception as error:  # noqa: BLE001 - retried after any failure
                if connected is not False:  # else it is another attempt of the same outage
                    address = connection.address if connection else "no server known"
                    failure = describe_failure(error, address, self._timeout)
                    log.info("invalidation bus disconnected (%s)", failure)
                connected = False
            finally:
                self._changed(False)
                if connection is not None:
                    await connection.drop()
            tried.set()
            await asyncio.sleep(PAUSE_SECONDS * RANDOM.uniform(0.5, 1.5))

    async def _receive(self, connection: Connection) -> None:
        while True:
            message = await connection.receive(PING_SECONDS)
            if message is None:
                async with asyncio.timeout(self._timeout):
                    await connection.send(("PING",))
                message = await connection.receive(self._timeout)
                if message is None:
                    raise TimeoutError("PING timeout")
            if message[0] == b"message":
                self._on_message(message[2])

    def _on_message(self, name: bytes) -> None:
        self._received(name.decode(errors="surrogateescape"))
