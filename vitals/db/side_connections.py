"""Side connections: short-lived connections to the host's databases, closed after each use.

The caller uses them one at a time, so there is never more than one besides the host's. They are
what the host's own are: opened by its creator, and set up by its listeners of the pool's events,
which may set a search path or a role or register functions. The host's listeners of statements are
not called.
"""

import copy
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

import anyio.to_thread
from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from vitals.db.dialect_hook import WITH_PARAMETERS, WITHOUT_PARAMETERS

Result = TypeVar("Result")

IS_SIDE: ContextVar[bool] = ContextVar("vitals_side_connection", default=False)
"""Whether the current task opens or uses a side connection."""


class SideEngine(Engine):
    """An engine of the kit's own."""

    # No public option, but what SQLAlchemy's own OptionEngine uses: listeners of all engines, such
    # as the host's or a test's, do not see it.
    _sa_propagate_class_events = False


async def run(engine: Engine, query: Callable[[Connection], Result]) -> Result:
    """Run a function on a new connection to an engine's database.

    Args:
        engine: The host's engine, which has been connected before.
        query: The function; it runs in a transaction, also where the host's engine is in
            autocommit mode.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: The database is unavailable or refuses.
    """
    token = IS_SIDE.set(True)
    try:
        side = _side_engine(engine)
        if engine.dialect.is_async:
            return await _run_async(AsyncEngine(side), query)
        return await anyio.to_thread.run_sync(_run, side, query)
    finally:
        IS_SIDE.reset(token)


async def _run_async(side: AsyncEngine, query: Callable[[Connection], Result]) -> Result:
    try:
        async with side.connect() as connection:
            await connection.run_sync(_begin)
            return await connection.run_sync(query)
    finally:
        await side.dispose()


def _run(side: Engine, query: Callable[[Connection], Result]) -> Result:
    try:
        with side.connect() as connection:
            _begin(connection)
            return query(connection)
    finally:
        side.dispose()


def _begin(connection: Connection) -> None:
    """Leave autocommit mode, in which a transaction's settings would have no effect."""
    if connection.dialect.name == "postgresql":
        connection.execution_options(isolation_level="READ COMMITTED")


def _side_engine(engine: Engine) -> Engine:
    dialect = copy.copy(engine.dialect)
    own: dict[str, Any] = vars(dialect)
    for name in (*WITH_PARAMETERS, WITHOUT_PARAMETERS, "dispatch", "_has_events"):
        own.pop(name, None)  # what was set on the instance: our hooks, and the host's listeners
    pool: Any = engine.pool
    return SideEngine(type(pool).recreate(pool), dialect, engine.url, hide_parameters=True)
