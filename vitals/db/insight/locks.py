"""Current lock waits on PostgreSQL: waiting and blocking sessions."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

from vitals.db.statements.fingerprint import normalise
from vitals.redaction.secret_patterns import redact_patterns, redact_random_words

_SQL = text(
    """
    SELECT waiting.pid, blocking.pid,
           EXTRACT(EPOCH FROM clock_timestamp() - waiting.state_change)::float,
           EXTRACT(EPOCH FROM clock_timestamp() - blocking.xact_start)::float,
           waiting.query, blocking.query, blocking.state, blocking.application_name
    FROM pg_stat_activity waiting
    CROSS JOIN LATERAL unnest(pg_blocking_pids(waiting.pid)) AS blocker(pid)
    JOIN pg_stat_activity blocking ON blocking.pid = blocker.pid
    WHERE waiting.datname = current_database()
    ORDER BY 3 DESC
    """
)


@dataclass(frozen=True)
class LockWait:
    """A session that waits for a lock of another.

    Attributes:
        waiting_pid: PID of the waiting session.
        blocking_pid: PID of the blocking session; ``SELECT pg_terminate_backend(...)`` ends it.
        waited: Wait so far, in seconds.
        transaction: Age of the blocking transaction, in seconds.
        waiting: The waiting statement, without its values.
        blocking: The last statement of the blocking session, without its values.
        state: State of the blocking session, such as ``idle in transaction``.
        application: Application name of the blocking session.
    """

    waiting_pid: int
    blocking_pid: int
    waited: float
    transaction: float
    waiting: str
    blocking: str
    state: str
    application: str


def read(connection: Connection) -> list[LockWait]:
    """Read all current lock waits, the longest first.

    Raises:
        ValueError: The database is not PostgreSQL.
    """
    if connection.dialect.name != "postgresql":
        raise ValueError(
            f"lock waits are not available on {connection.dialect.name}, only on PostgreSQL"
        )
    return [
        LockWait(
            row[0],
            row[1],
            round(row[2] or 0.0, 3),
            round(row[3] or 0.0, 3),
            normalise(row[4] or ""),
            normalise(row[5] or ""),
            row[6] or "",
            redact_random_words(redact_patterns(row[7] or "")),
        )
        for row in connection.execute(_SQL)
    ]
