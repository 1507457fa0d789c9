"""Who waits for whose lock on PostgreSQL, right now."""

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
class Wait:
    """A session that waits for another.

    Attributes:
        waiting_pid: Who waits.
        blocking_pid: For whom; ``SELECT pg_terminate_backend(...)`` would end it.
        waited: Seconds.
        transaction: Seconds since the blocking transaction began.
        waiting: The statement that waits, without its values.
        blocking: The last statement of the blocking session, without its values.
        state: What the blocking session does: ``idle in transaction`` is forgotten.
        application: The blocking session's name.
    """

    waiting_pid: int
    blocking_pid: int
    waited: float
    transaction: float
    waiting: str
    blocking: str
    state: str
    application: str


def read(connection: Connection) -> list[Wait]:
    """Everybody who waits for a lock, the longest first.

    Raises:
        ValueError: The database is not PostgreSQL.
    """
    if connection.dialect.name != "postgresql":
        raise ValueError(f"{connection.dialect.name} does not tell who waits; PostgreSQL does")
    return [
        Wait(
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
