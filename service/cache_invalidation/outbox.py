"""Transactional outbox of invalidations that Redis could not be given, and its relay."""

import asyncio
import logging
from contextlib import suppress
from datetime import datetime
from functools import partial

from sqlalchemy import String, delete, insert, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.cache_invalidation.peer_notify import Peers
from service.db.database import Base, Database, Id, now
from service.errors import UnavailableError
from vitals.cache.cache import Cache
from vitals.cache.core.store import InvalidationTarget, WriteIntent, new_token

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
BATCH = 500


class OutboxRow(Base):
    """An invalidation that Redis does not know yet."""

    __tablename__ = "cache_outbox"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(300))
    is_generation: Mapped[bool] = mapped_column("whole")
    created_at: Mapped[datetime] = mapped_column(default=now)


class NotDeliveredError(Exception):
    """The cache store does not answer."""


class OutboxRelay:
    """Announces write intents, and relays the outbox to the cache."""

    def __init__(self, cache: Cache, database: Database) -> None:
        self._cache = cache
        self._database = database
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._peers: Peers | None = None
        if cache.is_shared and database.engine.dialect.name == "postgresql":
            self._peers = Peers(database.engine, cache, self._wake.set)
        cache.before_recovery(partial(self.relay, wait=True))

    async def start(self) -> None:
        """Relay now and periodically; without a shared cache the outbox stays empty."""
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

    def enqueue(self, session: Session, targets: tuple[InvalidationTarget, ...]) -> None:
        """Insert targets into the outbox, in the current transaction."""
        rows = [{"name": target.name, "is_generation": target.is_generation} for target in targets]
        session.execute(insert(OutboxRow), rows)
        if self._peers is not None:
            self._peers.notify_on_commit(session)

    async def release(self, intent: WriteIntent) -> None:
        """Release the intent after the commit, and have peers release it if they announced it."""
        if not intent.delivered and self._peers is not None:
            self._peers.release(intent)
        await self._cache.release(intent)

    async def relay(self, *, wait: bool = False) -> None:
        """Deliver all rows; with ``wait``, also those that another process is delivering.

        Raises:
            UnavailableError: The database does not answer.
            NotDeliveredError: The cache store does not answer.
        """
        async with self._database.reading() as session:
            if await session.scalar(select(OutboxRow.id).limit(1)) is None:
                return
        while await self._relay_some(wait=wait):
            pass

    async def _relay_some(self, *, wait: bool) -> bool:
        statement = select(OutboxRow).order_by(OutboxRow.id).limit(BATCH)
        async with self._database.writing() as session:
            rows = list(await session.scalars(statement.with_for_update(skip_locked=not wait)))
            if not rows:
                return False
            targets = {
                self._cache.target(row.name, is_generation=row.is_generation): None for row in rows
            }
            if not await self._cache.invalidate_now(*targets):
                raise NotDeliveredError
            await session.execute(delete(OutboxRow).where(OutboxRow.id.in_(row.id for row in rows)))
        return len(rows) == BATCH

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
        except (UnavailableError, NotDeliveredError) as error:
            log.debug("cache outbox not relayed (%s: %s)", type(error).__name__, error)
        except Exception:
            log.exception("cache outbox not relayed")
        else:
            return True
        return False
