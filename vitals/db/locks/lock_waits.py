"""Current lock waits on PostgreSQL: waiting and blocking sessions.

Locks and how long a session has waited are visible to every role; statements, states and
transactions of other roles' sessions only with ``pg_read_all_stats``. What is not visible is None,
or says which right is missing.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, TextClause, text

from vitals.db.statements.fingerprint import Statement, parse
from vitals.metrics.catalogue import OTHER
from vitals.redaction.secret_patterns import redact_patterns, redact_random_words

INVISIBLE = "insufficient privilege: grant pg_read_all_stats"
"""In place of a statement that the role may not see."""
UNKNOWN = "unknown"
"""A state that the role may not see."""
PREPARED = "prepared transaction"
HIDDEN = "<insufficient privilege>"
"""What pg_stat_activity says in place of it."""
_NOTHING = Statement("", UNKNOWN, "", UNKNOWN)
_NO_RIGHT = Statement("", INVISIBLE, "", INVISIBLE)

# Only sessions that wait are asked for their blockers, which holds up all locking for a moment.
_SQL = """
    WITH waiting AS (
        SELECT pid, {since} AS since, min(mode) AS mode, min(locktype) AS kind,
               min(CASE WHEN relation IS NOT NULL THEN relation::regclass::text END) AS relation
        FROM pg_locks WHERE NOT granted GROUP BY pid
    ), prepared AS (
        SELECT count(*) AS number, min(prepared) AS since FROM pg_prepared_xacts
        WHERE database = current_database()
    )
    SELECT waiting.pid, blocker.pid,
           EXTRACT(EPOCH FROM clock_timestamp()
                   - COALESCE(waiting.since, waits.query_start))::float,
           EXTRACT(EPOCH FROM clock_timestamp() - CASE WHEN blocker.pid <> 0 THEN blocks.xact_start
               WHEN prepared.number = 1 THEN prepared.since END)::float,
           waits.query, blocks.query, blocks.state, waits.application_name,
           blocks.application_name, blocks.usename,
           waiting.kind, waiting.mode, waiting.relation
    FROM waiting
    JOIN pg_stat_activity waits ON waits.pid = waiting.pid
    CROSS JOIN prepared
    CROSS JOIN LATERAL (SELECT DISTINCT unnest(pg_blocking_pids(waiting.pid))) AS blocker (pid)
    LEFT JOIN pg_stat_activity blocks ON blocks.pid = blocker.pid
    WHERE waits.datname = current_database()
    ORDER BY 3 DESC NULLS LAST, 1, 2
"""
_WAIT_START_VERSION = (14,)
"""The first version whose pg_locks says since when a session waits."""


@dataclass(frozen=True)
class LockWait:
    """A session that waits for a lock of another.

    Attributes:
        waiting_pid: PID of the waiting session.
        blocking_pid: PID of the blocking session, which ``SELECT pg_terminate_backend(...)`` ends;
            0 for a prepared transaction, which ``ROLLBACK PREPARED`` ends.
        waited: Wait so far, in seconds; None if unknown.
        transaction: Age of the blocking transaction, in seconds; None if unknown.
        waiting: The waiting statement, without its values.
        blocking: The last statement of the blocking session, without its values.
        waiting_summary: The waiting statement's operation and tables.
        blocking_summary: The blocking session's, likewise.
        state: State of the blocking session, such as ``idle in transaction``, or ``unknown``.
        waiting_application: Application name of the waiting session.
        application: Application name of the blocking session.
        user: Role of the blocking session.
        lock: The lock that is waited for, such as ``AccessShareLock on products``.
        advisory: Whether it is an advisory lock, which applications wait for by intent.
    """

    waiting_pid: int
    blocking_pid: int
    waited: float | None
    transaction: float | None
    waiting: str
    blocking: str
    waiting_summary: str
    blocking_summary: str
    state: str
    waiting_application: str
    application: str
    user: str
    lock: str
    advisory: bool


def read(connection: Connection) -> list[LockWait]:
    """Read all current lock waits of the database, the longest first.

    Raises:
        ValueError: The database is not PostgreSQL.
    """
    if connection.dialect.name != "postgresql":
        raise ValueError(
            f"lock waits are not available on {connection.dialect.name}, only on PostgreSQL"
        )
    found = connection.execute(_query(has_wait_start=_has_wait_start(connection)))
    return [_wait(*row) for row in found]


def is_granted(connection: Connection) -> bool:
    """Whether the role sees the statements of other roles' sessions."""
    sql = text("SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')")
    return bool(connection.execute(sql).scalar_one())


def _has_wait_start(connection: Connection) -> bool:
    version = connection.dialect.server_version_info or ()
    return tuple(version[:1]) >= _WAIT_START_VERSION


@cache
def _query(*, has_wait_start: bool) -> TextClause:
    since = "min(waitstart)" if has_wait_start else "CAST(NULL AS timestamptz)"
    return text(_SQL.format(since=since).replace("::", "\\:\\:"))


def _wait(  # noqa: PLR0917  # a row
    waiting_pid: int,
    blocking_pid: int,
    waited: float | None,
    transaction: float | None,
    waiting_sql: str | None,
    blocking_sql: str | None,
    state: str | None,
    waiting_application: str | None,
    application: str | None,
    user: str | None,
    kind: str,
    mode: str,
    relation: str | None,
) -> LockWait:
    waiting, blocking = _statement(waiting_sql), _statement(blocking_sql)
    row = kind in {"transactionid", "tuple"}
    return LockWait(
        waiting_pid,
        blocking_pid,
        _seconds(waited),
        _seconds(transaction),
        waiting.text,
        blocking.text,
        waiting.summary,
        blocking.summary,
        state or (PREPARED if not blocking_pid else UNKNOWN),
        _name(waiting_application),
        _name(application),
        _name(user),
        f"{mode} on {_name(relation) or ('a row' if row else kind)}",
        kind == "advisory",
    )


def _statement(sql: str | None) -> Statement:
    if sql == HIDDEN:
        return _NO_RIGHT
    if not sql:
        return _NOTHING
    statement = parse(sql.removeprefix("autovacuum: "), "postgresql")
    return statement if statement.operation != OTHER else statement._replace(summary=UNKNOWN)


def _seconds(value: Any) -> float | None:
    return None if value is None else round(max(0.0, value), 3)


def _name(value: str | None) -> str:
    return redact_random_words(redact_patterns(value or ""))
