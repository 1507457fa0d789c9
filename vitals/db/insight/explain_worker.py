"""Explain worker: explains slow statements on a side connection.

At most one connection more than the host's, open only during a query; a statement is explained
every five minutes while it is slow, and soon after it has become slower, six a minute in total. A
plan needs the statement's values: they stay in memory until it is explained, for a second or two, a
minute at most, and are stored nowhere.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import Context, copy_context
from time import monotonic
from typing import Any, NamedTuple

import anyio.to_thread
from sqlalchemy import Connection, Engine

from vitals.db import side_connections
from vitals.db.engines import AnyEngine, root_engine
from vitals.db.insight.explain import explain, explain_sqlite, may_explain, with_sqlite_advice
from vitals.db.insight.explain_throttle import ExplainThrottle
from vitals.db.insight.plan_history import PlanHistory
from vitals.db.statements.fingerprint import Statement
from vitals.db.statements.plans import Plan
from vitals.db.statements.query_log import QueryLog
from vitals.metrics.meter import Meter

EXPLAIN_INTERVAL = 300.0
"""Seconds between two plans of a statement that stays as slow."""
ANALYZE_INTERVAL = 3_600.0
"""The same where a plan executes the statement."""
MAX_PER_MINUTE = 6
QUEUE_SIZE = 64
"""Statements that may wait to be explained."""
MAX_AGE = 60.0
"""Seconds after which queued values are discarded."""
POLL_INTERVAL = 1.0
"""Seconds between two polls of the queue."""
TIMEOUT = 10.0
"""Seconds for one query, including the connect."""

TASK_NAME = "vitals explain worker"

MAX_ANALYZE_SECONDS = 1.0
"""Longest duration, in seconds, of a statement that is executed again."""


class _ExplainRequest(NamedTuple):
    engine: Engine
    statement: Statement
    sql: str
    parameters: Any
    seconds: float
    queued: float
    context: Context  # the request's: the host's listeners may choose a tenant's schema by it


class ExplainWorker:
    """Background task that fills the table of plans.

    Args:
        plans: Receives the newest plan of each fingerprint.
        meter: Counts queries that failed.
        log: Logs plans that changed for the worse; or None.
        analyze: Whether statements without side effects are executed for their plan.

    Attributes:
        history: Plan history; auto_explain's plans are added to it too.
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
        self._throttle = ExplainThrottle(
            ANALYZE_INTERVAL if analyze else EXPLAIN_INTERVAL, MAX_PER_MINUTE
        )
        self._queue: deque[_ExplainRequest] = deque(maxlen=QUEUE_SIZE)
        self._running = False
        self.history = PlanHistory(plans, log)

    def submit(
        self, engine: AnyEngine, statement: Statement, sql: str, parameters: Any, seconds: float
    ) -> None:
        """Queue a slow statement unless it is throttled or cannot be explained; never blocks."""
        if (
            self._running
            and _supports_explain(engine)
            and may_explain(statement, sql, parameters)
            and self._throttle.allows(statement.fingerprint, seconds)
        ):
            self._queue.append(
                _ExplainRequest(
                    root_engine(engine),
                    statement,
                    sql,
                    parameters,
                    seconds,
                    monotonic(),
                    copy_context(),
                )
            )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the worker within this context."""
        self._running = True
        task = asyncio.create_task(self._work(), name=TASK_NAME)
        try:
            yield
        finally:
            self._running = False
            self._queue.clear()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _work(self) -> None:
        # Checks a flag, because a driver may turn a cancellation into an error of its own.
        while self._running:
            await asyncio.sleep(POLL_INTERVAL)
            while self._queue:
                request = self._queue.popleft()
                if monotonic() - request.queued > MAX_AGE:
                    continue
                try:
                    async with asyncio.timeout(TIMEOUT):
                        # A task of its own, because only a task can be given a context.
                        plan = await asyncio.create_task(
                            self._explain(request), name=TASK_NAME, context=request.context
                        )
                    began = request.queued - request.seconds
                    self.history.record_explain(request.statement, plan, request.seconds, began)
                except Exception:  # noqa: BLE001  # a failed plan must not stop the worker
                    self._meter.dropped("plan")

    async def _explain(self, request: _ExplainRequest) -> Plan:
        engine, _, sql, parameters, seconds, *_ = request
        if engine.dialect.is_async and engine.dialect.name == "sqlite":
            # The advisor needs CPU time, not the database: keep it off the event loop.
            found = await side_connections.run(
                engine, lambda connection: explain_sqlite(connection, sql, parameters)
            )
            return await anyio.to_thread.run_sync(with_sqlite_advice, *found, sql, parameters)

        def explain_on(connection: Connection) -> Plan:
            analyze = self._analyze and seconds <= MAX_ANALYZE_SECONDS
            return explain(connection, sql, parameters, analyze=analyze)

        return await side_connections.run(engine, explain_on)


def _supports_explain(engine: AnyEngine) -> bool:
    # A second connection to an in-memory database opens another, empty one.
    return engine.dialect.name == "postgresql" or (
        engine.dialect.name == "sqlite" and engine.url.database not in {None, "", ":memory:"}
    )
