"""Variants of query instrumentation, and the measured query: a select by primary key.

Imported in two environments, ours and one with a SQLAlchemy that OpenTelemetry supports, so it
imports only what both have.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from time import perf_counter, process_time
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    insert,
    select,
)
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bench.interleave import Once, compare
from vitals.asgi.request_context import CURRENT, RequestContext
from vitals.asgi.route_template import RouteTemplates
from vitals.db.engines import AnyEngine
from vitals.db.probe import QueryProbe
from vitals.db.statements.query_log import QueryLog
from vitals.metrics.catalogue import DB_OPERATION_DURATION, OperationLabels
from vitals.metrics.meter import Meter
from vitals.objectives import Objectives

PLAIN, AGAIN, OURS, ENGINE_EVENTS = (
    "not instrumented",
    "not instrumented, again (noise)",
    "vitals",
    "engine events, own histogram",
)
ITEMS = Table(
    "items", MetaData(), Column("id", Integer, primary_key=True), Column("name", String(20))
)
QUERY = select(ITEMS.c.id, ITEMS.c.name).where(ITEMS.c.id == 7)
_HTTP = {"type": "http", "path": "/items/7", "headers": []}

Finish = Callable[[RequestContext], None]
Watch = Callable[[AnyEngine], Finish]


def sync(engine: AnyEngine) -> Engine:
    """The synchronous engine."""
    return engine.sync_engine if isinstance(engine, AsyncEngine) else engine


def uninstrumented(_engine: AnyEngine) -> Finish:
    """No instrumentation."""
    return lambda _request: None


def ours(engine: AnyEngine) -> Finish:
    """Everything: histogram, per-request totals, N+1, slow query log, plans."""
    probe = QueryProbe(Meter(), Objectives(), None, QueryLog(RouteTemplates(object())))
    probe.instrument(engine)
    return probe.finish


def engine_events(engine: AnyEngine) -> Finish:
    """The minimum with engine events: time and count."""
    labels = OperationLabels("sql", "SELECT", "SELECT items", "f" * 16, "")
    duration = Meter().histogram(DB_OPERATION_DURATION).bind(labels)

    def after(*call: Any) -> None:
        duration.observe(perf_counter() - call[4].began)

    def before(*call: Any) -> None:
        call[4].began = perf_counter()

    event.listen(sync(engine), "before_cursor_execute", before)
    event.listen(sync(engine), "after_cursor_execute", after)
    return lambda _request: None


async def measure(
    url: str,
    variants: Mapping[str, Watch],
    *,
    rounds: int,
    calls: int,
    clock: Callable[[], float] = process_time,
) -> dict[str, float]:
    """Seconds per query of each variant.

    Args:
        url: URL with an async driver, or ``sqlite://``, which is synchronous.
        variants: The compared variants by name.
        rounds: Rounds of each.
        calls: Queries per round.
        clock: Processor time by default.
    """
    make = caller if "+" in url else sync_caller
    async with AsyncExitStack() as stack:
        stack.enter_context(one_processor())
        made = {name: await make(stack, url, watch) for name, watch in variants.items()}
        return await compare(made, rounds=rounds, calls=calls, clock=clock)


@contextmanager
def one_processor() -> Iterator[None]:
    """Pin this process and its threads to one processor.

    The placement of a driver's thread changes a query's time by half, and varies from one second to
    the next. Waiting does not count here, so pinning distorts nothing else.
    """
    if not hasattr(os, "sched_setaffinity"):  # Linux only
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


async def caller(stack: AsyncExitStack, url: str, watch: Watch) -> Once:
    """One request with one query, on a connection that stays open."""
    engine = create_async_engine(url)
    stack.push_async_callback(engine.dispose)
    finish = watch(engine)
    connection = await stack.enter_async_context(engine.connect())
    await connection.run_sync(prepare)

    async def once() -> None:
        request = RequestContext(_HTTP, "GET")
        token = CURRENT.set(request)
        (await connection.execute(QUERY)).all()
        CURRENT.reset(token)
        request.duration = 1.0
        finish(request)

    return once


async def sync_caller(stack: AsyncExitStack, url: str, watch: Watch) -> Once:
    """The same with a synchronous driver."""
    engine = create_engine(url)
    stack.callback(engine.dispose)
    finish = watch(engine)
    connection = stack.enter_context(engine.connect())
    prepare(connection)

    async def once() -> None:
        request = RequestContext(_HTTP, "GET")
        token = CURRENT.set(request)
        connection.execute(QUERY).all()
        CURRENT.reset(token)
        request.duration = 1.0
        finish(request)

    return once


def prepare(connection: Connection) -> None:
    """Create the table once."""
    ITEMS.metadata.create_all(connection)
    if not connection.execute(QUERY).all():
        connection.execute(insert(ITEMS), [{"id": i, "name": str(i)} for i in range(20)])
    connection.commit()
