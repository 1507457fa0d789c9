"""Asks the database how it carries out slow statements, on a connection of its own.

At most one connection more than the host's, open only while it asks; one question a statement and
hour, six a minute. A statement's values are needed for its plan: they stay in memory until it is
asked, for a second or two, a minute at most, and are kept nowhere.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any, Literal, NamedTuple

import anyio.to_thread
from sqlalchemy import Connection, Engine, NullPool, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from vitals.catalogue import OTHER
from vitals.meter import Meter
from vitals.queries import clone, sqlite_advisor
from vitals.queries.advisor import Advice, advise
from vitals.queries.fingerprint import LONGEST, Statement
from vitals.queries.harmless import is_harmless
from vitals.queries.log import QueryLog
from vitals.queries.pace import Pace
from vitals.queries.plans import Node, Plan, of_postgres, of_sqlite
from vitals.queries.seam import AnyEngine

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
SHAPES = 8
"""Ways to carry out one statement that are remembered."""

LONGEST_RUN = 1.0
"""Seconds that a statement may have taken, if it is to be executed again."""

Explain = bool | Literal["analyze"]
"""Whether slow statements are explained; by executing them again where that is harmless."""

_EXPLAINED = frozenset(("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES"))
_CAREFULLY = (
    "SET TRANSACTION READ ONLY",
    "SET LOCAL statement_timeout = '2s'",
    "SET LOCAL lock_timeout = '100ms'",
)


class _Question(NamedTuple):
    engine: AnyEngine
    statement: Statement
    sql: str
    parameters: Any
    seconds: float
    asked: float


class Explainer:
    """Fills a table of plans.

    Args:
        plans: Where the newest plan of each fingerprint goes.
        meter: Counts what could not be asked.
        log: Is told of a plan that changed for the worse; or None.
        analyze: Whether statements that are harmless are executed for their plan.
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
        self._plans = plans
        self._meter = meter
        self._log = log
        self._pace = Pace(HOUR, A_MINUTE)
        self._waiting: deque[_Question] = deque(maxlen=WAITING)
        self._known: dict[str, dict[str, float]] = {}
        self._told: dict[str, tuple[float, Plan]] = {}
        self._own: dict[AnyEngine, AnyEngine] = {}
        self._running = False

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

    def told(self, statement: Statement, plan: Plan, seconds: float) -> None:
        """Keep the plan of a real execution, which the database has told of by itself."""
        if statement.fingerprint != OTHER:
            known = self._plans.get(statement.fingerprint)
            if known is not None and known.shape == plan.shape:
                plan = known  # with the advice that was given on it
            self._told[statement.fingerprint] = monotonic(), plan
            self._keep(statement, plan, seconds)

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
                except Exception:  # noqa: BLE001  # a plan is worth nobody's trouble
                    self._meter.dropped("plan")
                else:
                    self._keep(question.statement, self._real(question, plan), question.seconds)

    async def _ask(self, question: _Question) -> Plan:
        own = self._own.get(question.engine) or self._connectable(question.engine)
        analyze = self._analyze and question.seconds <= LONGEST_RUN

        def ask(connection: Connection) -> Plan:
            return explain(connection, question.sql, question.parameters, analyze=analyze)

        if isinstance(own, AsyncEngine):
            asked = question.sql, question.parameters
            async with own.connect() as connection:
                if own.dialect.name != "sqlite":
                    return await connection.run_sync(ask)
                found = await connection.run_sync(_of_sqlite, *asked)
            return await anyio.to_thread.run_sync(_advised, *found, *asked)

        def in_a_thread() -> Plan:
            with own.connect() as connection:
                return ask(connection)

        return await anyio.to_thread.run_sync(in_a_thread)

    def _connectable(self, engine: AnyEngine) -> AnyEngine:
        """An engine that connects as the host's does, and keeps nothing."""
        creator = engine.pool._creator  # noqa: SLF001  # the one way to the host's arguments
        make = create_async_engine if isinstance(engine, AsyncEngine) else create_engine
        own: AsyncEngine | Engine = make(engine.url, pool=NullPool(creator), hide_parameters=True)
        self._own[engine] = own
        return own

    def _real(self, question: _Question, plan: Plan) -> Plan:
        """The plan of the execution in question, where the database has told of it."""
        when, real = self._told.get(question.statement.fingerprint, (0.0, plan))
        if when < question.asked - question.seconds:
            return plan
        if real.shape == plan.shape:
            real = plan  # which may have figures of its execution
        return real._replace(notes=list(dict.fromkeys([*real.notes, *plan.notes])))

    def _keep(self, statement: Statement, plan: Plan, seconds: float) -> None:
        shapes = self._known.setdefault(statement.fingerprint, {})
        before = self._plans.get(statement.fingerprint)
        was = shapes.get(before.shape) if before is not None else None
        if (
            before is not None
            and was is not None
            and plan.shape not in shapes
            and seconds >= 2 * was
            and self._log is not None
        ):
            self._log.plan_changed(statement, before, plan, was, seconds)
        shapes[plan.shape] = min(seconds, shapes.get(plan.shape, seconds))
        if len(shapes) > SHAPES:
            del shapes[next(iter(shapes))]
        self._plans[statement.fingerprint] = plan


def _can_be_asked(engine: AnyEngine) -> bool:
    # A second connection to a database in memory finds another, empty one.
    return engine.dialect.name == "postgresql" or (
        engine.dialect.name == "sqlite" and engine.url.database not in {None, "", ":memory:"}
    )


def may_explain(statement: Statement, sql: str, parameters: Any) -> bool:
    """Whether EXPLAIN can be put before a statement: it must be one, and be about rows."""
    return (
        statement.operation in _EXPLAINED
        and statement.fingerprint != OTHER
        and not isinstance(parameters, list)
        and len(sql) <= LONGEST
        # A second statement would be executed; the text has no literals that could hold one.
        and ";" not in statement.text.rstrip("; ")
    )


def explain(connection: Connection, sql: str, parameters: Any, *, analyze: bool = False) -> Plan:
    """Ask for the plan of a statement, in a transaction that is rolled back.

    Args:
        connection: To PostgreSQL or SQLite.
        sql: The statement as the driver got it.
        parameters: Its values, likewise.
        analyze: Whether PostgreSQL executes it, if that is certain to change nothing.

    Raises:
        ValueError: The database is another one.
        sqlalchemy.exc.DBAPIError: The database refuses.
    """
    try:
        match connection.dialect.name:
            case "postgresql":
                plan = _of_postgres(connection, sql, parameters, analyze=analyze)
                connection.rollback()
                return plan._replace(notes=[*plan.notes, *_advice(connection, sql, parameters)])
            case "sqlite":
                return _advised(*_of_sqlite(connection, sql, parameters), sql, parameters)
            case other:
                raise ValueError(f"plans of {other} cannot be read")
    finally:
        connection.rollback()


def _of_postgres(connection: Connection, sql: str, parameters: Any, *, analyze: bool) -> Plan:
    for setting in _CAREFULLY:
        connection.exec_driver_sql(setting)
    explained = connection.exec_driver_sql("EXPLAIN (FORMAT JSON) " + sql, parameters).scalar_one()
    tree: list[Node] = json.loads(explained) if isinstance(explained, str) else explained
    plan = of_postgres(tree)
    if not analyze:
        return plan
    try:
        if not is_harmless(connection, sql, parameters, tree[0]["Plan"]):
            return plan
        question = "EXPLAIN (ANALYZE, FORMAT JSON) " + sql
        return of_postgres(connection.exec_driver_sql(question, parameters).scalar_one())
    except DBAPIError:  # such as one that takes too long this time
        return plan


def _of_sqlite(
    connection: Connection, sql: str, parameters: Any
) -> tuple[Plan, clone.Schema | None]:
    """A statement's plan, and what is needed to advise on it."""
    rows = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + sql, parameters)
    plan = of_sqlite([(row[0], row[1], row[3]) for row in rows])
    try:
        return plan, clone.read(connection, sql)
    except (ValueError, DBAPIError):
        return plan, None


def _advised(plan: Plan, schema: clone.Schema | None, sql: str, parameters: Any) -> Plan:
    """SQLite's plan with what its advisor says; takes milliseconds of the processor."""
    if schema is None:
        return plan
    return plan._replace(
        notes=[*plan.notes, *_told(sqlite_advisor.on_clone(schema, sql, parameters))]
    )


def _advice(connection: Connection, sql: str, parameters: Any) -> list[str]:
    """What the advisor says, where HypoPG is installed."""
    try:
        return _told(advise(connection, sql, parameters))
    except (ValueError, DBAPIError):
        return []


def _told(advice: Advice) -> list[str]:
    if not advice.indexes:
        return advice.notes
    saved = f"the planner would pay {advice.cost_after:.0f} instead of {advice.cost_before:.0f}"
    return [f"{saved} with {'; '.join(advice.indexes)}", *advice.notes]
