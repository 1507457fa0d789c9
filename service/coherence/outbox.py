"""Invalidations that could not reach Redis, kept in the database with the write they belong to."""

import asyncio
import logging
from datetime import datetime

from sqlalchemy import String, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from service.cache.store import Cache
from service.database import Base, Database, Id, now
from service.errors import UnavailableError

log = logging.getLogger(__name__)

RELAY_SECONDS = 1.0
"""So long a process that still reaches Redis may serve what another one, that does not, changed."""
BATCH = 500


class OwedMark(Base):
    """Something that the cache must still be told of."""

    __tablename__ = "cache_outbox"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(300))
    whole: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(default=now)


class NotToldError(Exception):
    """The cache's store does not answer."""


class Relay:
    """Tells the cache what is owed, and then forgets it."""

    def __init__(self, cache: Cache, database: Database) -> None:
        self._cache = cache
        self._database = database
        self._task: asyncio.Task[None] | None = None
        cache.before_trust(self.relay)

    async def start(self) -> None:
        """Relay now, and again and again; without a shared cache nothing is ever owed."""
        if self._cache.is_shared:
            await self._try()
            self._task = asyncio.get_running_loop().create_task(self._repeat())

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def relay(self) -> None:
        """Tell all there is.

        Raises:
            UnavailableError: The database does not answer.
            NotToldError: The cache's store does not.
        """
        async with self._database.reading() as session:
            if await session.scalar(select(OwedMark.id).limit(1)) is None:
                return
        while await self._relay_some():
            pass

    async def _relay_some(self) -> bool:
        statement = select(OwedMark).order_by(OwedMark.id).limit(BATCH)
        async with self._database.writing() as session:
            owed = list(await session.scalars(statement.with_for_update(skip_locked=True)))
            marks = {self._cache.mark(row.name, whole=row.whole): None for row in owed}
            # An intent, because it says whether it was delivered.
            intent = await self._cache.intend(*marks)
            if not intent.delivered:
                raise NotToldError
            await session.execute(delete(OwedMark).where(OwedMark.id.in_(row.id for row in owed)))
        await self._cache.release(intent)
        return len(owed) == BATCH

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(RELAY_SECONDS)
            await self._try()

    async def _try(self) -> None:
        try:
            await self.relay()
        except (UnavailableError, NotToldError) as error:
            log.debug("what is owed to the cache waits: %s", error)
        except Exception:
            log.exception("what is owed to the cache waits")
