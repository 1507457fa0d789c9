"""Ways to watch a query, and a query to be watched: a select by primary key.

Imported by two Pythons, ours and one with a SQLAlchemy that OpenTelemetry supports: so it needs
nothing but what both have.
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
from vitals.db.dialect_hook import AnyEngine
from vitals.db.probe import QueryProbe
from vitals.db.statements.query_log import QueryLog
from vitals.metrics.catalogue import DB_OPERATION_DURATION, Operation
from vitals.metrics.meter import Meter
from vitals.objectives import Objectives

PLAIN, AGAIN, OURS, LISTENED = (
    "not watched",
    "not watched, again (noise)",
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
    """The engine that executes."""
    return engine.sync_engine if isinstance(engine, AsyncEngine) else engine


def unwatched(_engine: AnyEngine) -> Finish:
    """Nothing."""
    return lambda _request: None


def ours(engine: AnyEngine) -> Finish:
    """Everything: histogram, request's account, N+1, slow log armed, plans."""
    probe = QueryProbe(Meter(), Objectives(), None, QueryLog(RouteTemplates(object())))
    probe.instrument(engine)
    return probe.finish


def listened(engine: AnyEngine) -> Finish:
    """The least that engine events can do: time and count."""
    labels = Operation("sql", "SELECT", "SELECT items", "f" * 16, "")
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
    ways: Mapping[str, Watch],
    *,
    rounds: int,
    calls: int,
    clock: Callable[[], float] = process_time,
) -> dict[str, float]:
    """Seconds that a query takes, watched in each way.

    Args:
        url: Of an async driver, or of ``sqlite://``, which waits for nobody.
        ways: What is compared, by name.
        rounds: Turns that each takes.
        calls: Queries of a turn.
        clock: Of the processor's time, unless another one is named.
    """
    make = asker if "+" in url else sync_asker
    async with AsyncExitStack() as stack:
        stack.enter_context(one_processor())
        made = {name: await make(stack, url, watch) for name, watch in ways.items()}
        return await compare(made, rounds=rounds, calls=calls, clock=clock)


@contextmanager
def one_processor() -> Iterator[None]:
    """Keep to one processor, threads included.

    Where the system puts a driver's thread makes half as much again of a query's time, and changes
    from one second to the next. Waiting does not count here, so nothing else is lost by it.
    """
    if not hasattr(os, "sched_setaffinity"):  # which is Linux's
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


async def asker(stack: AsyncExitStack, url: str, watch: Watch) -> Once:
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


async def sync_asker(stack: AsyncExitStack, url: str, watch: Watch) -> Once:
    """The same with a driver that waits for nobody."""
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
    """Make the table once."""
    ITEMS.metadata.create_all(connection)
    if not connection.execute(QUERY).all():
        connection.execute(insert(ITEMS), [{"id": i, "name": str(i)} for i in range(20)])
    connection.commit()
