"""Invalidations that could not reach Redis, kept in the database with the write they belong to."""

import asyncio
import logging
from contextlib import suppress
from datetime import datetime
from functools import partial

from sqlalchemy import String, delete, insert, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.cache.cache import Cache
from service.cache.core.store import Intent, Mark, new_token
from service.cache_invalidation.peer_notify import Neighbours
from service.db.database import Base, Database, Id, now
from service.errors import UnavailableError

log = logging.getLogger(__name__)

RELAY_SECONDS = 1.0
"""Looks into the table are so far apart; who is called looks at once."""
UNCALLED_SECONDS = 0.2
"""And so far where nobody calls: so long a process that reaches Redis may serve what another one,
that does not, has changed."""
MOST_LATE_SECONDS = 0.24
"""A commit waits so long for the cache at most, whoever is to tell it."""
HURRY_SECONDS = 0.05
"""After so long without an answer of Redis others are called: most will not need the rest."""
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
        self._wake = asyncio.Event()
        self._neighbours: Neighbours | None = None
        if cache.is_shared and database.engine.dialect.name == "postgresql":
            self._neighbours = Neighbours(database.engine, cache, self._wake.set)
        cache.before_trust(partial(self.relay, wait=True))

    async def start(self) -> None:
        """Relay now, and again and again; without a shared cache nothing is ever owed."""
        if self._cache.is_shared:
            await self._try()
            if self._neighbours is not None:
                self._neighbours.start()
            self._task = asyncio.get_running_loop().create_task(self._repeat())

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._neighbours is not None:
            await self._neighbours.close()

    async def intend(self, marks: tuple[Mark, ...]) -> Intent:
        """Tell the cache what is about to be committed; if it cannot be told, have others do it."""
        if self._neighbours is None:
            return await self._cache.intend(*marks)
        loop = asyncio.get_running_loop()
        end, token = loop.time() + MOST_LATE_SECONDS, new_token()
        telling = loop.create_task(self._cache.intend(*marks, token=token))
        try:
            await asyncio.wait([telling], timeout=HURRY_SECONDS)
            if not telling.done() or not telling.result().delivered:
                await self._neighbours.ask(Intent(marks, token=token), end - loop.time())
            return await telling
        finally:
            telling.cancel()

    def owe(self, session: Session, marks: tuple[Mark, ...]) -> None:
        """Write down, with the transaction under way, that the cache must be told."""
        rows = [{"name": mark.name, "whole": mark.whole} for mark in marks]
        session.execute(insert(OwedMark), rows)
        if self._neighbours is not None:
            self._neighbours.announce(session)

    async def release(self, intent: Intent) -> None:
        """Tell that it is committed, likewise."""
        if not intent.delivered and self._neighbours is not None:
            self._neighbours.release(intent)
        await self._cache.release(intent)

    async def relay(self, *, wait: bool = False) -> None:
        """Tell all there is; with ``wait``, also what somebody else is just telling.

        Raises:
            UnavailableError: The database does not answer.
            NotToldError: The cache's store does not.
        """
        async with self._database.reading() as session:
            if await session.scalar(select(OwedMark.id).limit(1)) is None:
                return
        while await self._relay_some(wait=wait):
            pass

    async def _relay_some(self, *, wait: bool) -> bool:
        statement = select(OwedMark).order_by(OwedMark.id).limit(BATCH)
        async with self._database.writing() as session:
            owed = list(await session.scalars(statement.with_for_update(skip_locked=not wait)))
            if not owed:
                return False
            marks = {self._cache.mark(row.name, whole=row.whole): None for row in owed}
            if not await self._cache.tell(*marks):
                raise NotToldError
            await session.execute(delete(OwedMark).where(OwedMark.id.in_(row.id for row in owed)))
        return len(owed) == BATCH

    async def _repeat(self) -> None:
        while True:
            called = self._neighbours is not None and self._neighbours.is_listening
            with suppress(TimeoutError):
                async with asyncio.timeout(RELAY_SECONDS if called else UNCALLED_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            if not await self._try():
                await asyncio.sleep(RELAY_SECONDS)

    async def _try(self) -> bool:
        try:
            await self.relay()
        except (UnavailableError, NotToldError) as error:
            log.debug("what is owed to the cache waits: %s", error)
        except Exception:
            log.exception("what is owed to the cache waits")
        else:
            return True
        return False
