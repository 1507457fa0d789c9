"""Asks the databases about slow statements and lock waits, aside from the host's connections.

At most one connection more than the host's, open only while it asks; one question a statement and
hour, six a minute. A statement's values are needed for its plan: they stay in memory until it is
asked, for a second or two, a minute at most, and are kept nowhere.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any, NamedTuple

import anyio.to_thread
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from vitals.db.dialect_hook import AnyEngine
from vitals.db.insight.explain import advised, ask_sqlite, explain, may_explain
from vitals.db.insight.lock_sampler import LockWaits
from vitals.db.insight.plan_history import Shapes
from vitals.db.side_connections import OwnConnections
from vitals.db.statements.fingerprint import Statement
from vitals.db.statements.log_throttle import Pace
from vitals.db.statements.plans import Plan
from vitals.db.statements.query_log import QueryLog
from vitals.metrics.meter import Meter

HOUR = 3_600.0
A_MINUTE = 6
WAITING = 64
"""Statements that may wait to be asked about."""
OLDEST = 60.0
"""Seconds after which values are forgotten, asked about or not."""
EVERY = 1.0
"""Seconds between two looks at what waits."""
PATIENCE = 10.0
"""Seconds for one question, connecting included."""

LONGEST_RUN = 1.0
"""Seconds that a statement may have taken, if it is to be executed again."""


class _Question(NamedTuple):
    engine: AnyEngine
    statement: Statement
    sql: str
    parameters: Any
    seconds: float
    asked: float


class Explainer:
    """Fills a table of plans, and one of lock waits.

    Args:
        plans: Where the newest plan of each fingerprint goes.
        meter: Counts what could not be asked.
        log: Is told of a plan that changed for the worse; or None.
        analyze: Whether statements that are harmless are executed for their plan.

    Attributes:
        shapes: Keeps the plans; the database may tell it of some by itself.
        waits: Who waited for a lock.
    """

    def __init__(
        self,
        plans: dict[str, Plan],
        meter: Meter,
        log: QueryLog | None,
        *,
        analyze: bool = False,
    ) -> None:
        self._analyze = analyze
        self._meter = meter
        self._pace = Pace(HOUR, A_MINUTE)
        self._waiting: deque[_Question] = deque(maxlen=WAITING)
        self._own = OwnConnections()
        self._running = False
        self.shapes = Shapes(plans, log)
        self.waits = LockWaits()

    def offer(
        self, engine: AnyEngine, statement: Statement, sql: str, parameters: Any, seconds: float
    ) -> None:
        """Have a slow statement explained, if there is reason and room for it; never waits."""
        if (
            self._running
            and _can_be_asked(engine)
            and may_explain(statement, sql, parameters)
            and self._pace.allows(statement.fingerprint) is not None
        ):
            asked = _Question(engine, statement, sql, parameters, seconds, monotonic())
            self._waiting.append(asked)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ask while this is entered."""
        self._running = True
        task = asyncio.create_task(self._work(), name="vitals plans")
        try:
            yield
        finally:
            self._running = False
            self._waiting.clear()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _work(self) -> None:
        # Asks whether it goes on: a driver may answer a cancellation with an error of its own.
        while self._running:
            await asyncio.sleep(EVERY)
            while self._waiting:
                question = self._waiting.popleft()
                if monotonic() - question.asked > OLDEST:
                    continue
                try:
                    async with asyncio.timeout(PATIENCE):
                        plan = await self._ask(question)
                    _, statement, _, _, seconds, asked = question
                    self.shapes.asked(statement, plan, seconds, asked - seconds)
                except Exception:  # noqa: BLE001  # a plan is worth nobody's trouble
                    self._meter.dropped("plan")
            for engine in self.waits.due():
                try:
                    async with asyncio.timeout(PATIENCE):
                        self.waits.add(await self._own.ask(engine, self.waits.look))
                except Exception:  # noqa: BLE001  # nor is a sample
                    self._meter.dropped("lock_sample")

    async def _ask(self, question: _Question) -> Plan:
        engine, _, sql, parameters, seconds, _ = question
        if isinstance(engine, AsyncEngine) and engine.dialect.name == "sqlite":
            # The advisor needs the processor, not the database: not on the event loop.
            found = await self._own.ask(engine, lambda own: ask_sqlite(own, sql, parameters))
            return await anyio.to_thread.run_sync(advised, *found, sql, parameters)

        def ask(connection: Connection) -> Plan:
            analyze = self._analyze and seconds <= LONGEST_RUN
            return explain(connection, sql, parameters, analyze=analyze)

        return await self._own.ask(engine, ask)


def _can_be_asked(engine: AnyEngine) -> bool:
    # A second connection to a database in memory finds another, empty one.
    return engine.dialect.name == "postgresql" or (
        engine.dialect.name == "sqlite" and engine.url.database not in {None, "", ":memory:"}
    )
