"""Side connections: short-lived connections to the host's databases, closed after each use.

The caller uses them one at a time, so there is never more than one besides the host's.
"""

from collections.abc import Callable
from typing import TypeVar

import anyio.to_thread
from sqlalchemy import Connection, Engine, NullPool, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from vitals.db.dialect_hook import AnyEngine

Result = TypeVar("Result")


class SideConnections:
    """Engines without a pool that connect with the host's arguments."""

    def __init__(self) -> None:
        self._engines: dict[AnyEngine, AnyEngine] = {}

    async def run(self, engine: AnyEngine, query: Callable[[Connection], Result]) -> Result:
        """Run a function on a new connection to an engine's database.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The database is unavailable or refuses.
        """
        side = self._engines.get(engine) or self._create(engine)
        if isinstance(side, AsyncEngine):
            async with side.connect() as connection:
                return await connection.run_sync(query)

        def in_a_thread() -> Result:
            with side.connect() as connection:
                return query(connection)

        return await anyio.to_thread.run_sync(in_a_thread)

    def _create(self, engine: AnyEngine) -> AnyEngine:
        creator = engine.pool._creator  # noqa: SLF001  # no public access to the connect arguments
        make = create_async_engine if isinstance(engine, AsyncEngine) else create_engine
        side: AsyncEngine | Engine = make(engine.url, pool=NullPool(creator), hide_parameters=True)
        self._engines[engine] = side
        return side
