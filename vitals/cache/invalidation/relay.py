"""Relay of the outbox: announces write intents, and gives the cache what it could not be given."""

import asyncio
import logging
from contextlib import suppress
from functools import partial

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from vitals.cache.cache import Cache
from vitals.cache.core.store import InvalidationTarget, WriteIntent, new_token
from vitals.cache.invalidation.loop_bridge import LoopBridge
from vitals.cache.invalidation.outbox import Outbox
from vitals.cache.invalidation.peer_notify import Peers

log = logging.getLogger(__name__)

RELAY_SECONDS = 1.0
"""Polling interval of the outbox while peers notify; a notification is relayed at once."""
POLL_SECONDS = 0.2
"""Polling interval without notifications: for so long, a process that reaches Redis may serve what
a process that is cut off has changed."""
COMMIT_DELAY_SECONDS = 0.24
"""Longest time that a commit waits for its write intent to be announced."""
PEER_NOTIFY_DELAY_SECONDS = 0.05
"""Time without a reply of Redis after which peers are notified."""


class NotDeliveredError(Exception):
    """The cache store does not answer."""


class OutboxRelay:
    """Announces write intents, and relays the outbox to the cache.

    Args:
        cache: To invalidate.
        outbox: Where invalidations are kept while Redis is unavailable.
        bridge: To the cache's event loop.
        listening: An engine of PostgreSQL by asyncpg, for notifications; None without.
    """

    def __init__(
        self, cache: Cache, outbox: Outbox, bridge: LoopBridge, listening: AsyncEngine | None
    ) -> None:
        self._cache = cache
        self._outbox = outbox
        self._bridge = bridge
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._failed = False
        self._peers: Peers | None = None
        if cache.is_shared and listening is not None:
            self._peers = Peers(listening, cache, self._wake_up, channel=outbox.table.name)
        cache.before_recovery(partial(self.relay, wait=True))

    async def start(self) -> None:
        """Relay now and periodically; without a shared cache the outbox stays empty."""
        self._bridge.attach()
        self._wake = asyncio.Event()
        if self._cache.is_shared:
            await self._try()
            if self._peers is not None:
                self._peers.start()
            self._task = asyncio.get_running_loop().create_task(self._repeat())

    async def close(self) -> None:
        """Stop relaying."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._peers is not None:
            await self._peers.close()

    async def intend(self, targets: tuple[InvalidationTarget, ...]) -> WriteIntent:
        """Announce a write to the cache; if that fails, have peers announce it."""
        if self._peers is None:
            return await self._cache.intend(*targets)
        loop = asyncio.get_running_loop()
        end, token = loop.time() + COMMIT_DELAY_SECONDS, new_token()
        announcing = loop.create_task(self._cache.intend(*targets, token=token))
        try:
            await asyncio.wait([announcing], timeout=PEER_NOTIFY_DELAY_SECONDS)
            if not announcing.done() or not announcing.result().delivered:
                await self._peers.send_intent(WriteIntent(targets, token=token), end - loop.time())
            return await announcing
        finally:
            announcing.cancel()

    def enqueue(self, connection: Connection, targets: tuple[InvalidationTarget, ...]) -> None:
        """Insert targets into the outbox, in the connection's transaction."""
        self._outbox.add(connection, targets)

    async def release(self, intent: WriteIntent) -> None:
        """Release the intent after the commit, and have peers release it if they announced it."""
        if not intent.delivered and self._peers is not None:
            self._peers.release(intent)
        await self._cache.release(intent)

    async def relay(self, *, wait: bool = False) -> None:
        """Deliver all rows; with ``wait``, also those that another process is delivering.

        Raises:
            NotDeliveredError: The cache store does not answer.
            Exception: The database's, if it does not answer.
        """
        if await self._outbox.is_empty():
            return
        while await self._outbox.take(self._deliver, wait=wait):
            pass

    def _deliver(self, names: tuple[tuple[str, bool], ...]) -> None:
        targets = [self._cache.target(name, is_generation=whole) for name, whole in names]
        if not self._bridge.wait_for(self._cache.invalidate_now(*targets)):
            raise NotDeliveredError

    def _wake_up(self) -> None:
        self._wake.set()

    async def _repeat(self) -> None:
        while True:
            listening = self._peers is not None and self._peers.is_listening
            with suppress(TimeoutError):
                async with asyncio.timeout(RELAY_SECONDS if listening else POLL_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            if not await self._try():
                await asyncio.sleep(RELAY_SECONDS)

    async def _try(self) -> bool:
        try:
            await self.relay()
        except Exception as error:  # noqa: BLE001 - retried after any failure
            level = logging.DEBUG if self._failed else logging.INFO  # an outage may be long
            log.log(level, "cache outbox not relayed (%s: %s)", type(error).__name__, error)
            self._failed = True
            return False
        self._failed = False
        return True
