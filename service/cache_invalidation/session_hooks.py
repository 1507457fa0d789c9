"""SQLAlchemy session hooks that invalidate the cache for what a session commits.

Before the COMMIT a write intent is announced: the cache drops the entries and refuses fills until
the intent is released after the COMMIT. So a process that dies in between leaves no stale entry.
If Redis is unavailable, the invalidation is inserted into the table ``cache_outbox`` in the same
transaction, and any process may relay it to the cache.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable

from sqlalchemy import Table, event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction
from sqlalchemy.util import await_only

from service.cache_invalidation.outbox import OutboxRelay
from service.cache_invalidation.pending_changes import Change, Changes, executed, flushed
from service.db.database import Base, Database
from vitals.cache.cache import Cache
from vitals.cache.core.store import InvalidationTarget, WriteIntent

log = logging.getLogger(__name__)

TargetsOf = Callable[[Change], Iterable[InvalidationTarget]]
_TARGETS, _INTENT = "service.cache_invalidation.targets", "service.cache_invalidation.intent"


class CacheInvalidator:
    """Invalidates a cache for the writes of a database's sessions.

    Writes that raise no session event need ``invalidate_on_commit``: textual statements, and
    everything that is executed on a connection instead of a session.

    Args:
        cache: To invalidate.
        database: Whose writing sessions are observed.
    """

    def __init__(self, cache: Cache, database: Database) -> None:
        self._watched: defaultdict[Table, list[TargetsOf]] = defaultdict(list)
        self._relay = OutboxRelay(cache, database)
        sessions = database.session_class
        event.listen(sessions, "after_flush", self._after_flush)
        event.listen(sessions, "do_orm_execute", self._on_execute)
        event.listen(sessions, "before_commit", self._before_commit)
        event.listen(sessions, "after_commit", self._after_commit)
        event.listen(sessions, "after_transaction_end", self._after_end)

    def watch(self, entity: type[Base], targets_of: TargetsOf) -> None:
        """Register what a changed row invalidates; each slice does so for its own namespaces.

        Args:
            entity: Whose rows.
            targets_of: Returns the targets of a change, before it is committed.
        """
        self._watched[entity.metadata.tables[entity.__tablename__]].append(targets_of)

    def invalidate_on_commit(self, session: AsyncSession, *targets: InvalidationTarget) -> None:
        """Invalidate targets when the current transaction commits."""
        _targets(session.sync_session).update(dict.fromkeys(targets))

    async def start(self) -> None:
        """Relay the outbox, now and in the background."""
        await self._relay.start()

    async def close(self) -> None:
        """Stop the relay."""
        await self._relay.close()

    # -- Session events ----------------------------------------------------------------------

    def _after_flush(self, session: Session, _context: object) -> None:
        self._collect(session, flushed(session))

    def _on_execute(self, state: ORMExecuteState) -> None:
        self._collect(state.session, executed(state))

    def _collect(self, session: Session, changes: Changes) -> None:
        for table, change in changes:
            if table in self._watched:
                for targets_of in self._watched[table]:
                    _targets(session).update(dict.fromkeys(targets_of(change)))

    def _before_commit(self, session: Session) -> None:
        if session.in_nested_transaction():  # a savepoint: not visible to others yet
            return
        session.flush()
        targets = tuple(_targets(session))
        if not targets:
            return
        intent = await_only(self._relay.intend(targets))
        session.info[_INTENT] = intent
        if not intent.delivered:
            self._relay.enqueue(session, targets)

    def _after_commit(self, session: Session) -> None:
        intent: WriteIntent | None = session.info.get(_INTENT)
        if intent is None or session.in_nested_transaction():
            return
        try:
            await_only(self._relay.release(intent))
        except Exception:  # it is committed: the caller must not see a failure
            log.exception("cannot release a write intent after the commit")

    def _after_end(self, session: Session, transaction: SessionTransaction) -> None:
        # After a rollback an intent stays until it expires: a COMMIT whose reply was lost may
        # still happen. A savepoint that is rolled back keeps its targets: at worst that
        # invalidates too much.
        if transaction.parent is None:
            session.info.pop(_TARGETS, None)
            session.info.pop(_INTENT, None)


def _targets(session: Session) -> dict[InvalidationTarget, None]:
    targets: dict[InvalidationTarget, None] = session.info.setdefault(_TARGETS, {})
    return targets
