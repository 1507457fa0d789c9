"""Sessions: connections by state, what active ones wait for, open transactions, who blocks whom.

A transaction that blocks others is remembered while it is open, for a minute and a half after the
last session waited: a statement gives up after its timeout, and the next request waits again.
"""

from collections.abc import Iterable, Iterator
from time import monotonic
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from rules.postgres_metrics import (
    PG_ACTIVE,
    PG_BLOCKED,
    PG_BLOCKER_IDLE,
    PG_BLOCKER_TRANSACTION,
    PG_CONNECTIONS,
    PG_CONNECTIONS_LIMIT,
    PG_LOCK_WAITING,
    PG_OLDEST_TRANSACTION,
    PG_TRANSACTION,
    SessionLabels,
)
from stack.readings.sample import Sample
from vitals.db.locks import lock_waits
from vitals.db.locks.lock_chains import LockChain, chains
from vitals.db.statements.fingerprint import parse
from vitals.redaction.secret_patterns import redact_patterns, redact_random_words

MOST = 5
"""Sessions with series of their own, of those that block and of those with old transactions."""
OLD = 60.0
"""Seconds from which on a transaction has series of its own: of younger ones, each reading would
find others."""
MEMORY = 90.0
"""Seconds for which an open transaction counts as blocking after the last session waited."""
TEXT = 200
"""Characters of a statement in a label."""
STATES = (
    *("active", "idle", "idle in transaction", "idle in transaction (aborted)"),
    *("fastpath function call", "disabled"),
)

_STATES_SQL = text(
    """
    SELECT COALESCE(state, 'unknown'), count(*) FROM pg_stat_activity
    WHERE backend_type = 'client backend' GROUP BY 1
    """
)
_WAITS_SQL = text(
    """
    SELECT COALESCE(wait_event_type, 'none'), count(*) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND state = 'active' AND pid <> pg_backend_pid()
    GROUP BY 1
    """
)
_LIMIT_SQL = text(
    """
    SELECT CAST(current_setting('max_connections') AS int)
         - CAST(current_setting('superuser_reserved_connections') AS int)
         - CAST(COALESCE(current_setting('reserved_connections', true), '0') AS int)
    """
)
_SESSIONS_SQL = text(
    """
    SELECT pid, COALESCE(datname, ''), COALESCE(application_name, ''), COALESCE(usename, ''),
           COALESCE(state, 'unknown'), query, CAST(EXTRACT(EPOCH FROM xact_start) AS float),
           CAST(EXTRACT(EPOCH FROM clock_timestamp() - xact_start) AS float),
           CASE WHEN state LIKE 'idle in transaction%'
                THEN CAST(EXTRACT(EPOCH FROM clock_timestamp() - state_change) AS float) END
    FROM pg_stat_activity
    WHERE xact_start IS NOT NULL AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    ORDER BY xact_start LIMIT :most
    """
)
_BLOCKERS_SQL = text(
    str(_SESSIONS_SQL).replace("ORDER BY xact_start LIMIT :most", "AND pid = ANY (:pids)")
)


class Session(NamedTuple):
    """A session with an open transaction.

    Attributes:
        labels: Who it is, and its last statement.
        began: When its transaction began, as Unix time of the server.
        age: Seconds for which that is open.
        idle: Seconds for which it has sent nothing in it; None while a statement runs.
    """

    labels: SessionLabels
    began: float
    age: float
    idle: float | None


class _Blocker(NamedTuple):
    began: float
    seen: float
    waiting: int


class Sessions:
    """Reads the sessions of a server; the lock waits are those of the connected database."""

    def __init__(self) -> None:
        self._blockers: dict[int, _Blocker] = {}

    def read(self, connection: Connection) -> Iterator[Sample]:
        """Connections, waits and the oldest transactions."""
        states = dict.fromkeys(STATES, 0) | _counts(connection, _STATES_SQL)
        for state, number in states.items():
            yield Sample(PG_CONNECTIONS, (state,), number)
        yield Sample(PG_CONNECTIONS_LIMIT, (), connection.execute(_LIMIT_SQL).scalar_one())
        waits = {"none": 0, "Lock": 0} | _counts(connection, _WAITS_SQL)
        for kind, number in waits.items():
            yield Sample(PG_ACTIVE, (kind,), number)
        oldest = _sessions(connection.execute(_SESSIONS_SQL, {"most": MOST}))
        yield Sample(PG_OLDEST_TRANSACTION, (), max((each.age for each in oldest), default=0.0))
        for session in oldest:
            if session.age > OLD:
                yield Sample(PG_TRANSACTION, session.labels, session.age)

    def read_locks(self, connection: Connection) -> Iterator[Sample]:
        """Who blocks whom."""
        waits = [wait for wait in lock_waits.read(connection) if not wait.advisory]
        database = connection.execute(text("SELECT current_database()")).scalar_one()
        yield Sample(PG_LOCK_WAITING, (database,), len({wait.waiting_pid for wait in waits}))
        found = {chain.pid: chain for chain in chains(waits)}
        known = [*{*found, *self._blockers} - {0}]
        rows = connection.execute(_BLOCKERS_SQL, {"pids": known}) if known else ()
        blocking = self._remember(_sessions(rows), found)
        for session, waiting in sorted(blocking, key=lambda pair: -pair[0].age)[:MOST]:
            yield Sample(PG_BLOCKED, session.labels, waiting)
            yield Sample(PG_BLOCKER_TRANSACTION, session.labels, session.age)
            if session.idle is not None:
                yield Sample(PG_BLOCKER_IDLE, session.labels, session.idle)

    def _remember(
        self, sessions: Iterable[Session], found: dict[int, LockChain]
    ) -> list[tuple[Session, int]]:
        """The sessions that block now or have just done so, with how many wait for them."""
        now, blocking = monotonic(), []
        before, self._blockers = self._blockers, {}
        for session in sessions:
            pid = int(session.labels.pid)
            if pid in found:
                blocker = _Blocker(session.began, now, found[pid].sessions)
            else:
                blocker = before[pid]._replace(waiting=0)
                if blocker.began != session.began or now - blocker.seen > MEMORY:
                    continue
            self._blockers[pid] = blocker
            blocking.append((session, blocker.waiting))
        return blocking


def _counts(connection: Connection, query: Any) -> dict[str, int]:
    return {row[0]: row[1] for row in connection.execute(query)}


def _sessions(rows: Iterable[Any]) -> list[Session]:
    return [
        Session(
            SessionLabels(
                database, str(pid), _name(application), _name(user), state, statement(query)
            ),
            began,
            max(0.0, age),
            None if idle is None else max(0.0, idle),
        )
        for pid, database, application, user, state, query, began, age, idle in rows
    ]


def statement(query: str | None, most: int = TEXT) -> str:
    """A statement without its literals, shortened; what may not be seen says so."""
    if query == lock_waits.HIDDEN:
        return lock_waits.INVISIBLE
    normalised = parse(query or "", "postgresql").text
    return normalised if len(normalised) <= most else f"{normalised[: most - 1]}…"


def _name(value: str) -> str:
    return redact_random_words(redact_patterns(value))[:80]
