"""Side connections: connections of the kit's own to the host's databases.

Those for plans are closed after each use, and there is never more than one; one that watches locks
is kept. They are what the host's own are: opened by its creator, and set up by its listeners of the
pool's events, which may set a search path or a role or register functions. The host's listeners of
statements are not called.
"""

import copy
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, TypeVar, cast

import anyio.to_thread
from sqlalchemy import Connection, Engine, NullPool
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from vitals.db.dialect_hook import WITH_PARAMETERS, WITHOUT_PARAMETERS
from vitals.db.engines import OwnEngine

Result = TypeVar("Result")

IS_SIDE: ContextVar[bool] = ContextVar("vitals_side_connection", default=False)
"""Whether the current task opens or uses a side connection."""


async def run(engine: Engine, query: Callable[[Connection], Result]) -> Result:
    """Run a function on a new connection to an engine's database.

    Args:
        engine: The host's engine.
        query: The function; it runs in a transaction, also where the host's engine is in
            autocommit mode.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: The database is unavailable or refuses.
    """

    def in_transaction(connection: Connection) -> Result:
        _prepare(connection)
        return query(connection)

    token = IS_SIDE.set(True)
    try:
        if engine.dialect.is_async:
            side = AsyncEngine(_side_engine(engine))
            async with side.connect() as connection:
                return await connection.run_sync(in_transaction)

        def in_a_thread() -> Result:
            with _side_engine(engine).connect() as connection:
                return in_transaction(connection)

        return await anyio.to_thread.run_sync(in_a_thread)
    finally:
        IS_SIDE.reset(token)


class KeptConnection:
    """A side connection that stays open between queries.

    It may hold a lock of its session, and it still answers when the server takes no further
    connections. Use it from one task, and close it.
    """

    def __init__(self) -> None:
        self._connection: AsyncConnection | Connection | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is connected."""
        return self._connection is not None

    async def run(self, engine: Engine, query: Callable[[Connection], Result]) -> Result:
        """Run a function on the connection, in a transaction that is rolled back.

        Args:
            engine: The host's engine, by which it connects if there is no connection.
            query: The function.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The database is unavailable or refuses.
        """

        def in_transaction(connection: Connection) -> Result:
            try:
                return query(connection)
            finally:
                connection.rollback()

        token = IS_SIDE.set(True)
        try:
            if engine.dialect.is_async:
                if self._connection is None:
                    side = AsyncEngine(_side_engine(engine))
                    self._connection = await side.connect()
                    await self._connection.run_sync(_prepare)
                kept = cast(AsyncConnection, self._connection)
                return await kept.run_sync(in_transaction)

            def in_a_thread() -> Result:
                if self._connection is None:
                    self._connection = _side_engine(engine).connect()
                    _prepare(self._connection)
                return in_transaction(cast(Connection, self._connection))

            return await anyio.to_thread.run_sync(in_a_thread)
        finally:
            IS_SIDE.reset(token)

    async def close(self) -> None:
        """Close it; a failure is ignored, because the connection is then gone."""
        connection, self._connection = self._connection, None
        token = IS_SIDE.set(True)
        try:
            with suppress(Exception):
                if isinstance(connection, AsyncConnection):
                    await connection.close()
                elif connection is not None:
                    await anyio.to_thread.run_sync(connection.close)
        finally:
            IS_SIDE.reset(token)


def _prepare(connection: Connection) -> None:
    """Make a connection ready for queries in transactions."""
    dialect = connection.dialect
    if not hasattr(dialect, "default_isolation_level"):  # the host is connecting, or never did
        dialect.initialize(connection)
        connection.rollback()
    if dialect.name == "postgresql" and _is_autocommit(connection):
        # A transaction's settings would have no effect.
        connection.execution_options(isolation_level="READ COMMITTED")


def _is_autocommit(connection: Connection) -> bool:
    return bool(getattr(connection.connection.dbapi_connection, "autocommit", False))


def _side_engine(engine: Engine) -> Engine:
    host: Any = engine.pool
    # As ``recreate`` does, with all listeners; there is no public access to the creator.
    pool = NullPool(host._creator, dialect=host._dialect, _dispatch=host.dispatch)  # noqa: SLF001
    dialect = copy.copy(engine.dialect)
    own: dict[str, Any] = vars(dialect)
    for name in (*WITH_PARAMETERS, WITHOUT_PARAMETERS, "dispatch", "_has_events"):
        own.pop(name, None)  # what was set on the instance: our hooks, and the host's listeners
    return OwnEngine(pool, dialect, engine.url, hide_parameters=True)
