"""Pooled connections: which of those that a pool holds does the server still have?

SQLAlchemy notices that the server has ended a connection when it is used next, and keeps the record
of one that was invalidated; both count in ``checkedin``. A connection is asked without a round
trip: some drivers watch the socket, and of the others the kernel knows whether the peer has closed.
"""

import select
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any

from sqlalchemy.pool import ConnectionPoolEntry

_CLOSED = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR
"""What the kernel reports of a socket whose peer has closed; ``POLLRDHUP`` is Linux's."""


def count_idle(pool: Any) -> int:
    """How many connections of a ``QueuePool`` are open and not in use."""
    records = _waiting(pool)
    return pool.checkedin() if records is None else len(records) - count_ended(records)


def count_ended(records: Iterable[ConnectionPoolEntry]) -> int:
    """How many of these records have no connection, or one that the server has ended."""
    return sum(map(_has_ended, list(records)))


def _waiting(pool: Any) -> Collection[ConnectionPoolEntry] | None:
    """The records in the pool's queue; None if SQLAlchemy keeps them in another way."""
    with suppress(AttributeError, RuntimeError):
        queue = pool._pool  # noqa: SLF001  # there is no public way
        return list(queue.queue if hasattr(queue, "queue") else queue._queue._queue)  # noqa: SLF001  # the same
    return None


def _has_ended(record: ConnectionPoolEntry) -> bool:
    try:
        driver: Any = record.driver_connection
        if driver is None:
            return True
        is_closed = getattr(driver, "is_closed", None)  # asyncpg
        if callable(is_closed):
            return bool(is_closed())
        if getattr(driver, "closed", False):  # psycopg, psycopg2
            return True
        fileno = getattr(driver, "fileno", None)
        if not callable(fileno):
            return False  # such as SQLite's
        poll = select.poll()
        poll.register(fileno(), _CLOSED)
        return bool(poll.poll(0))
    except Exception:  # noqa: BLE001  # a driver of another kind: what the pool says counts
        return False
