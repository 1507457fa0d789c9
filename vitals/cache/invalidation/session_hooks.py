"""SQLAlchemy session hooks that invalidate the cache for what a session commits.

Before the COMMIT a write intent is announced: the cache drops the entries and refuses fills until
the intent is released after the COMMIT. So a process that dies in between leaves no stale entry.
If Redis is unavailable, the invalidation is inserted into the outbox, a table, in the same
transaction, and any process may relay it to the cache.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from weakref import WeakMethod

from sqlalchemy import Connection, Engine, MetaData, Table, event, inspect
from sqlalchemy.exc import UnboundExecutionError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction

from vitals.cache.cache import Cache
from vitals.cache.core.namespace import Namespace
from vitals.cache.core.running import Running
from vitals.cache.core.store import InvalidationTarget, WriteIntent
from vitals.cache.invalidation.loop_bridge import LoopBridge, LoopUnavailableError
from vitals.cache.invalidation.observed_sessions import ObservedSessions, Sessions
from vitals.cache.invalidation.outbox import AnyEngine, Outbox, outbox_table
from vitals.cache.invalidation.pending_changes import Change, Changes, executed, flushed
from vitals.cache.invalidation.relay import OutboxRelay

log = logging.getLogger(__name__)

TargetsOf = Callable[[Change], Iterable[InvalidationTarget]]

MAX_TARGETS = 1000
"""Of one transaction; if there are more, whole namespaces are dropped instead of entries."""


@dataclass
class _Transaction:
    """What a session's transaction invalidates, where it is written, and the announced intent."""

    bind: Engine | Connection
    targets: dict[InvalidationTarget, None] = field(default_factory=dict)
    intent: WriteIntent | None = None


class CacheInvalidator(Running):
    """Invalidates a cache for the writes of database sessions, synchronous or not.

    Start it while the application serves, after the cache: ``async with cache, invalidator:``.

    Writes that raise no session event need ``invalidate_on_commit``: textual statements, bulk
    methods of the legacy API, and all that is executed on a connection instead of a session.

    Args:
        cache: To invalidate.
        sessions: Which sessions are observed: an engine (all that use it, of any factory), a
            ``sessionmaker`` or ``async_sessionmaker``, or a subclass of ``Session``.
        engine: Of their database, for transactions; by default the factory's. Needed with a class.
        reader: An engine for polling the outbox; by default the same.
        listener: An engine of PostgreSQL by asyncpg, for ``LISTEN``; by default the same. Behind a
            pooler in transaction mode, one that leads to the server itself, as the same role.
        outbox: The table of ``outbox_table``; by default one named ``cache_outbox``. Only a cache
            in Redis uses it.

    Raises:
        ValueError: The sessions name no engine.
    """

    def __init__(
        self,
        cache: Cache,
        sessions: Sessions,
        *,
        engine: AnyEngine | None = None,
        reader: AnyEngine | None = None,
        listener: AsyncEngine | None = None,
        outbox: Table | None = None,
    ) -> None:
        self._cache = cache
        self._watched: defaultdict[Table, list[TargetsOf]] = defaultdict(list)
        self._sessions = ObservedSessions(sessions, engine)
        self._bridge = LoopBridge()
        used = self._sessions.engine
        table = outbox_table(MetaData()) if outbox is None else outbox
        listening = used if listener is None else listener
        listens = isinstance(listening, AsyncEngine) and listening.dialect.driver == "asyncpg"
        self._relay = OutboxRelay(
            cache,
            Outbox(table, used, reader or used),
            self._bridge,
            listening if listens and isinstance(listening, AsyncEngine) else None,
        )
        hooks: dict[str, Callable[..., None]] = {
            "after_flush": self._after_flush,
            "do_orm_execute": self._on_execute,
            "before_commit": self._before_commit,
            "after_commit": self._after_commit,
            "after_transaction_end": self._after_end,
        }
        for name, hook in hooks.items():
            _listen(self._sessions.session_class, name, WeakMethod(hook))
        cache.keep(self)  # the events must not: sessions of any engine would outlive the cache

    def watch(
        self,
        entity: type[Any] | Table,
        targets_of: TargetsOf | None = None,
        *,
        keys: Namespace[Any] | None = None,
        everything: Sequence[Namespace[Any] | InvalidationTarget] = (),
        columns: Iterable[str] = (),
    ) -> Self:
        """Register what a changed row invalidates.

        Args:
            entity: Whose rows: a mapped class or a table.
            targets_of: Returns the targets of a change, before it is committed.
            keys: A namespace with the row's primary key as its key: this entry is dropped, or all
                of them by a statement that names no rows.
            everything: Namespaces that are dropped whole, and tags.
            columns: Limits ``everything`` to changes of these attributes, and to new and deleted
                rows; by default all.

        Returns:
            The invalidator.
        """
        limit = frozenset(columns)
        whole = [t.everything if isinstance(t, Namespace) else t for t in everything]

        def of(change: Change) -> Iterable[InvalidationTarget]:
            if targets_of is not None:
                yield from targets_of(change)
            if keys is not None:
                yield keys.everything if change.key is None else keys.entry_of(change.key)
            if not limit or change.writes(limit):
                yield from whole

        self._watched[_table_of(entity)].append(of)
        return self

    def invalidate_on_commit(
        self, session: AsyncSession | Session, *targets: InvalidationTarget
    ) -> None:
        """Invalidate targets when the current transaction commits."""
        if isinstance(session, AsyncSession):
            session = session.sync_session
        try:
            bind = session.get_bind()
        except UnboundExecutionError:  # bound by tables
            engine = self._sessions.engine
            bind = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
        found = self._transaction(session, bind).targets
        found.update(dict.fromkeys(targets))
        self._limit(found)

    async def start(self) -> None:
        """Relay the outbox, now and in the background."""
        await self._relay.start()

    async def close(self) -> None:
        """Stop the relay; the sessions are observed as before."""
        await self._relay.close()

    # -- Session events ----------------------------------------------------------------------

    def _after_flush(self, session: Session, _context: object) -> None:
        self._collect(session, flushed(session, self._watched.keys()))

    def _on_execute(self, state: ORMExecuteState) -> None:
        self._collect(state.session, executed(state))

    def _collect(self, session: Session, changes: Changes) -> None:
        for table, change, arguments in changes:
            if table in self._watched and self._sessions.include(session, arguments):
                bind = session.get_bind(**arguments)
                found = self._transaction(session, bind).targets
                for targets_of in self._watched[table]:
                    found.update(dict.fromkeys(targets_of(change)))
                self._limit(found)

    def _limit(self, targets: dict[InvalidationTarget, None]) -> None:
        if len(targets) <= MAX_TARGETS:
            return
        whole = [
            each
            if each.is_generation
            else InvalidationTarget(each.info.name, is_generation=True, info=each.info)
            for each in targets
        ]
        targets.clear()
        targets.update(dict.fromkeys(whole))
        if len(targets) > MAX_TARGETS:  # tags: what was read under them is in some namespace
            targets.clear()
            targets.update(dict.fromkeys(self._cache.everything))

    def _before_commit(self, session: Session) -> None:
        if session.in_nested_transaction():  # a savepoint: not visible to others yet
            return
        session.flush()
        transaction: _Transaction | None = session.info.get(self)
        if transaction is None or not transaction.targets:
            return
        targets = tuple(transaction.targets)
        try:
            intent = self._bridge.wait_for(self._relay.intend(targets))
        except LoopUnavailableError:
            intent = self._intend_later(targets)
        transaction.intent = intent
        if self._cache.is_shared and not intent.delivered:
            connection = session.connection(bind_arguments={"bind": transaction.bind})
            self._relay.enqueue(connection, targets)

    def _intend_later(self, targets: tuple[InvalidationTarget, ...]) -> WriteIntent:
        """Announce a write without waiting: it reaches other processes by the outbox."""
        intent = WriteIntent(targets, delivered=False)
        if not self._bridge.call(lambda: self._cache.hold(intent)) and not self._cache.is_shared:
            log.warning("cache not invalidated: no event loop; start the invalidator where it runs")
        return intent

    def _after_commit(self, session: Session) -> None:
        transaction: _Transaction | None = session.info.get(self)
        if transaction is None or transaction.intent is None or session.in_nested_transaction():
            return
        try:
            self._bridge.wait_for(self._relay.release(transaction.intent))
        except LoopUnavailableError:
            self._bridge.schedule(self._relay.release(transaction.intent))
        except Exception:  # it is committed: the caller must not see a failure
            log.exception("cannot release a write intent after the commit")

    def _after_end(self, session: Session, transaction: SessionTransaction) -> None:
        # After a rollback an intent stays until it expires: a COMMIT whose reply was lost may
        # still happen. A savepoint that is rolled back keeps its targets: at worst that
        # invalidates too much.
        if transaction.parent is None:
            session.info.pop(self, None)

    def _transaction(self, session: Session, bind: Engine | Connection) -> _Transaction:
        found: _Transaction = session.info.setdefault(self, _Transaction(bind))
        return found


def _listen(session_class: type[Session], name: str, hook: WeakMethod[Callable[..., None]]) -> None:
    def call(*arguments: Any) -> None:
        method = hook()
        if method is not None:
            method(*arguments)

    event.listen(session_class, name, call)


def _table_of(entity: type[Any] | Table) -> Table:
    return entity if isinstance(entity, Table) else inspect(entity).local_table
