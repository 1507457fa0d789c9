"""Ties the cache to the database: what a session commits is never served as it was before.

Before the COMMIT the cache is told what will change; it drops that, and lets nobody store it until
it is told that the COMMIT is over. So a process that dies in between leaves nothing stale behind.
If the cache cannot be told, the change is written into the table ``cache_outbox``, in the same
transaction, and whichever process finds it there tells the cache.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable

from sqlalchemy import Table, event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction
from sqlalchemy.util import await_only

from service.cache.cache import Cache
from service.cache.core.store import Intent, Mark
from service.cache_invalidation.outbox import Relay
from service.cache_invalidation.pending_changes import Change, Found, executed, flushed
from service.db.database import Base, Database

log = logging.getLogger(__name__)

Touched = Callable[[Change], Iterable[Mark]]
_MARKS, _INTENT = "service.cache_invalidation.marks", "service.cache_invalidation.intent"


class Coherence:
    """Keeps a cache true to a database.

    What it cannot see must be said with ``touch``: statements in text, and whatever is executed
    on a connection instead of a session.

    Args:
        cache: To keep true.
        database: Whose writing sessions it follows.
    """

    def __init__(self, cache: Cache, database: Database) -> None:
        self._watched: defaultdict[Table, list[Touched]] = defaultdict(list)
        self._relay = Relay(cache, database)
        sessions = database.session_class
        event.listen(sessions, "after_flush", self._after_flush)
        event.listen(sessions, "do_orm_execute", self._on_execute)
        event.listen(sessions, "before_commit", self._before_commit)
        event.listen(sessions, "after_commit", self._after_commit)
        event.listen(sessions, "after_transaction_end", self._after_end)

    def watch(self, entity: type[Base], touched: Touched) -> None:
        """Say what a changed row makes old in the cache; each slice for what it keeps there.

        Args:
            entity: Whose rows.
            touched: Tells; it sees each change before it is committed.
        """
        self._watched[entity.metadata.tables[entity.__tablename__]].append(touched)

    def touch(self, session: AsyncSession, *marks: Mark) -> None:
        """Say what the transaction under way makes old."""
        _marks(session.sync_session).update(dict.fromkeys(marks))

    async def start(self) -> None:
        """Tell the cache what other processes could not, now and from now on."""
        await self._relay.start()

    async def close(self) -> None:
        """Stop that."""
        await self._relay.close()

    # -- What sessions tell ------------------------------------------------------------------

    def _after_flush(self, session: Session, _context: object) -> None:
        self._note(session, flushed(session))

    def _on_execute(self, state: ORMExecuteState) -> None:
        self._note(state.session, executed(state))

    def _note(self, session: Session, found: Found) -> None:
        for table, change in found:
            if table in self._watched:
                for touched in self._watched[table]:
                    _marks(session).update(dict.fromkeys(touched(change)))

    def _before_commit(self, session: Session) -> None:
        if session.in_nested_transaction():  # a savepoint: nobody else sees it yet
            return
        session.flush()
        marks = tuple(_marks(session))
        if not marks:
            return
        intent = await_only(self._relay.intend(marks))
        session.info[_INTENT] = intent
        if not intent.delivered:
            self._relay.owe(session, marks)

    def _after_commit(self, session: Session) -> None:
        intent: Intent | None = session.info.get(_INTENT)
        if intent is None or session.in_nested_transaction():
            return
        try:
            await_only(self._relay.release(intent))
        except Exception:  # it is committed: whoever committed must not be told otherwise
            log.exception("a cache could not be told of the end of a write")

    def _after_end(self, session: Session, transaction: SessionTransaction) -> None:
        # After a rollback an intent stays until it ends by itself: a COMMIT whose answer was lost
        # may still happen. A savepoint that is rolled back keeps its marks: too much goes, if
        # anything.
        if transaction.parent is None:
            session.info.pop(_MARKS, None)
            session.info.pop(_INTENT, None)


def _marks(session: Session) -> dict[Mark, None]:
    marks: dict[Mark, None] = session.info.setdefault(_MARKS, {})
    return marks
