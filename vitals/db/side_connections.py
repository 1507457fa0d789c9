"""Questions to the host's databases, on connections of our own that stay no longer than a question.

Whoever asks does it one by one: so there is never more than one connection besides the host's.
"""

from collections.abc import Callable
from typing import TypeVar

import anyio.to_thread
from sqlalchemy import Connection, Engine, NullPool, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from vitals.db.dialect_hook import AnyEngine

Answer = TypeVar("Answer")


class OwnConnections:
    """Engines that connect as the host's do, and keep nothing."""

    def __init__(self) -> None:
        self._own: dict[AnyEngine, AnyEngine] = {}

    async def ask(self, engine: AnyEngine, question: Callable[[Connection], Answer]) -> Answer:
        """What a function finds out on a connection to an engine's database.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The database does not answer.
        """
        own = self._own.get(engine) or self._like(engine)
        if isinstance(own, AsyncEngine):
            async with own.connect() as connection:
                return await connection.run_sync(question)

        def in_a_thread() -> Answer:
            with own.connect() as connection:
                return question(connection)

        return await anyio.to_thread.run_sync(in_a_thread)

    def _like(self, engine: AnyEngine) -> AnyEngine:
        creator = engine.pool._creator  # noqa: SLF001  # the one way to the host's arguments
        make = create_async_engine if isinstance(engine, AsyncEngine) else create_engine
        own: AsyncEngine | Engine = make(engine.url, pool=NullPool(creator), hide_parameters=True)
        self._own[engine] = own
        return own
