"""Transactional outbox of invalidations: a table in the host's database, and access to it."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.ext.asyncio import AsyncEngine

from vitals.cache.core.store import InvalidationTarget

log = logging.getLogger(__name__)

R = TypeVar("R")
AnyEngine = Engine | AsyncEngine

NAME = "cache_outbox"
PENDING = "pending"
"""Payload of the notification of a transaction that has written into the outbox."""
MAX_NAME = 40
"""Characters: the channel of each listener is the name and a pid, in at most 63."""
BATCH = 500


def outbox_table(metadata: MetaData, name: str = NAME) -> Table:
    """Declare the outbox in a metadata, so that Alembic or ``create_all`` creates it.

    In a migration written by hand, ``outbox_table(MetaData()).create(op.get_bind())``.

    Args:
        metadata: The application's; also its schema and naming convention.
        name: Of the table. Services that share a database need one each.

    Returns:
        The table: one row for each invalidation that Redis could not be given.

    Raises:
        ValueError: The name is too long.
    """
    if len(name) > MAX_NAME:
        raise ValueError(f"cache outbox {name!r}: at most {MAX_NAME} characters")
    schema = f"{metadata.schema}." if metadata.schema else ""
    found = metadata.tables.get(schema + name)
    if found is not None:
        return found
    return Table(
        name,
        metadata,
        # SQLite auto-increments only a column of the exact type INTEGER.
        Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("name", String(300), nullable=False),
        Column("whole", Boolean(), nullable=False),
        Column(
            "created_at",
            DateTime(timezone=True),
            nullable=False,
            default=lambda: datetime.now(UTC),
        ),
    )


class Outbox:
    """Reads and writes the outbox, in transactions of an engine of either kind.

    Where the table does not exist, nothing is written: an invalidation must not fail its
    transaction.

    Args:
        table: See ``outbox_table``.
        engine: Of the database, for transactions.
        reader: Of the same, for polling.
    """

    def __init__(self, table: Table, engine: AnyEngine, reader: AnyEngine) -> None:
        self.table = table
        self._engine = engine
        self._reader = reader
        self._exists: bool | None = None

    def add(self, connection: Connection, targets: tuple[InvalidationTarget, ...]) -> None:
        """Insert targets, in the connection's transaction; notify listeners at its commit."""
        if not self._is_there(connection):
            return
        rows = [{"name": target.name, "whole": target.is_generation} for target in targets]
        connection.execute(insert(self.table), rows)
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_notify(self.table.name, PENDING)))

    async def is_empty(self) -> bool:
        """Return whether there is no row that another transaction has committed."""

        def read(connection: Connection) -> bool:
            first = select(self.table.c.id).limit(1)
            return not self._is_there(connection) or connection.execute(first).first() is None

        return await _run(self._reader, read)

    async def take(
        self, deliver: Callable[[tuple[tuple[str, bool], ...]], object], *, wait: bool
    ) -> bool:
        """Deliver the oldest rows, and delete them; return whether there may be more.

        Args:
            deliver: Called with the name of each target and whether it is a generation; if it
                raises, the rows stay.
            wait: Whether to wait for rows that another process is delivering.
        """
        table = self.table

        def relay(connection: Connection) -> bool:
            oldest = select(table).order_by(table.c.id).limit(BATCH)
            rows = list(connection.execute(oldest.with_for_update(skip_locked=not wait)))
            if rows:
                deliver(tuple(dict.fromkeys((row.name, row.whole) for row in rows)))
                connection.execute(delete(table).where(table.c.id.in_([row.id for row in rows])))
            return len(rows) == BATCH

        return await _run(self._engine, relay)

    def _is_there(self, connection: Connection) -> bool:
        if self._exists:
            return True
        exists = inspect(connection).has_table(self.table.name, schema=self.table.schema)
        if not exists and self._exists is None:
            log.warning(
                "no table %s: while Redis is unavailable, invalidations are kept in memory only; "
                "create it by a migration, see vitals.cache.outbox_table",
                self.table.name,
            )
        self._exists = exists
        return exists


async def _run(engine: AnyEngine, work: Callable[[Connection], R]) -> R:
    if isinstance(engine, AsyncEngine):
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    return await asyncio.to_thread(_run_in_thread, engine, work)


def _run_in_thread(engine: Engine, work: Callable[[Connection], Any]) -> Any:
    with engine.begin() as connection:
        return work(connection)
