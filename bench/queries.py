"""What watching a query costs: a select by primary key on a held connection, in one run.

What is added is measured on sqlite3 in memory, where a query waits for nobody: with a server or a
thread between, a busy machine's noise is several times as much. Those are measured too, and shown;
what is promised of them is their own time, unwatched, and with the addition.

``python -m bench.queries``; PostgreSQL takes part where it is installed.
"""

import argparse
import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind
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

from bench.rounds import Once, compare, report
from stack import account, postgres, probes
from stack.processes import Process
from vitals.catalogue import DB_OPERATION_DURATION, Operation
from vitals.meter import Meter
from vitals.objectives import Objectives
from vitals.queries.log import QueryLog
from vitals.queries.probe import QueryProbe
from vitals.queries.seam import AnyEngine
from vitals.routes import RouteTemplates
from vitals.scope import CURRENT, RequestScope

PLAIN, AGAIN, OURS, LISTENED, SPANS = (
    "not watched",
    "not watched, again (noise)",
    "vitals",
    "engine events, own histogram",
    "engine events, OpenTelemetry span",
)
ALONE = "sqlite3"
PROMISED = {"OpenTelemetry": 1 / 4, "aiosqlite": 1.05, "asyncpg": 1.05}
"""Our addition as a share of OpenTelemetry's; time of a watched query against an unwatched one.
OpenTelemetry's is the least it does, a span with three attributes: its instrumentation refuses this
SQLAlchemy, so its own figure, which is higher, cannot be had in the same run."""
ITEMS = Table(
    "items", MetaData(), Column("id", Integer, primary_key=True), Column("name", String(20))
)
QUERY = select(ITEMS.c.id, ITEMS.c.name).where(ITEMS.c.id == 7)
_HTTP = {"type": "http", "path": "/items/7", "headers": []}

Watch = Callable[[AnyEngine], Callable[[RequestScope], None]]


def _sync(engine: AnyEngine) -> Engine:
    return engine.sync_engine if isinstance(engine, AsyncEngine) else engine


def unwatched(_engine: AnyEngine) -> Callable[[RequestScope], None]:
    """Nothing."""
    return lambda _request: None


def ours(engine: AnyEngine) -> Callable[[RequestScope], None]:
    """Everything: histogram, request's account, N+1, slow log armed, plans."""
    probe = QueryProbe(Meter(), Objectives(), None, QueryLog(RouteTemplates(object())))
    probe.watch(engine)
    return probe.finish


def listened(engine: AnyEngine) -> Callable[[RequestScope], None]:
    """The least that engine events can do: time and count."""
    labels = Operation("sql", "SELECT", "SELECT items", "f" * 16, "")
    duration = Meter().histogram(DB_OPERATION_DURATION).bind(labels)

    def after(*call: Any) -> None:
        duration.observe(perf_counter() - call[4].began)

    def before(*call: Any) -> None:
        call[4].began = perf_counter()

    event.listen(_sync(engine), "before_cursor_execute", before)
    event.listen(_sync(engine), "after_cursor_execute", after)
    return lambda _request: None


class Nowhere(SpanExporter):
    """Takes spans and forgets them."""

    def export(self, spans: Any) -> SpanExportResult:
        """Forget."""
        del spans
        return SpanExportResult.SUCCESS


def spans(engine: AnyEngine) -> Callable[[RequestScope], None]:
    """What OpenTelemetry's instrumentation does; itself it refuses this SQLAlchemy."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    tracer = provider.get_tracer("bench")
    sync = _sync(engine)

    def before(*call: Any) -> None:
        call[4].span = span = tracer.start_span(f"SELECT {sync.url.database}", kind=SpanKind.CLIENT)
        if span.is_recording():
            span.set_attribute("db.statement", call[2])
            span.set_attribute("db.system", sync.name)
            span.set_attribute("db.name", str(sync.url.database))

    def after(*call: Any) -> None:
        call[4].span.end()

    event.listen(sync, "before_cursor_execute", before)
    event.listen(sync, "after_cursor_execute", after)
    return lambda _request: None


WAYS: dict[str, Watch] = {
    PLAIN: unwatched,
    AGAIN: unwatched,
    OURS: ours,
    LISTENED: listened,
    SPANS: spans,
}


def prepare(connection: Connection) -> None:
    """Make the table once."""
    ITEMS.metadata.create_all(connection)
    if not connection.execute(QUERY).all():
        connection.execute(insert(ITEMS), [{"id": i, "name": str(i)} for i in range(20)])
    connection.commit()


async def asker(stack: AsyncExitStack, url: str, watch: Watch) -> Once:
    """One request with one query, on a connection that stays open."""
    engine = create_async_engine(url)
    stack.push_async_callback(engine.dispose)
    finish = watch(engine)
    connection = await stack.enter_async_context(engine.connect())
    await connection.run_sync(prepare)

    async def once() -> None:
        request = RequestScope(_HTTP, "GET")
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
        request = RequestScope(_HTTP, "GET")
        token = CURRENT.set(request)
        connection.execute(QUERY).all()
        CURRENT.reset(token)
        request.duration = 1.0
        finish(request)

    return once


async def measure(url: str, rounds: int, calls: int) -> dict[str, float]:
    """Seconds a query takes, by each way."""
    make = asker if "+" in url else sync_asker
    async with AsyncExitStack() as stack:
        ways = {name: await make(stack, url, watch) for name, watch in WAYS.items()}
        return await compare(ways, rounds=rounds, calls=calls)


@contextmanager
def postgresql() -> Iterator[str]:
    """A server of this run's, on a random port; its URL."""
    folder, port, servant = Path(tempfile.mkdtemp()), probes.free_port(), account.servant()
    try:
        if servant:
            servant.own(folder)
        password = folder / "password"
        password.write_text("only-for-this-run")
        postgres.make_cluster(folder / "data", servant, password)
        quick = {"fsync": "off", "shared_buffers": "64MB"}
        server = Process(postgres.server(folder / "data", port, servant, quick))
        server.start()
        try:
            server.wait_ready(lambda: postgres.answers(port))
            postgres.make_role(port, password.read_text(), password.read_text())
            postgres.make_database(port, password.read_text(), "bench")
            where = f"{probes.LOOPBACK}:{port}/bench"
            yield f"postgresql+asyncpg://{postgres.ROLE}:{password.read_text()}@{where}"
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def installed() -> bool:
    """Whether there is a PostgreSQL to start."""
    try:
        return bool(postgres.binary("postgres"))
    except FileNotFoundError:
        return False


def main() -> None:
    """Measure, print, and say in the exit code whether the promises hold."""
    parser = argparse.ArgumentParser(prog="python -m bench.queries", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="turns each way takes (40)")
    parser.add_argument("--calls", type=int, default=200, help="queries of a turn (200)")
    options = parser.parse_args()

    def take(url: str) -> dict[str, float]:
        return asyncio.run(measure(url, options.rounds, options.calls))

    taken = {ALONE: take("sqlite://"), "aiosqlite": take("sqlite+aiosqlite://")}
    if installed():
        with postgresql() as url:
            taken["asyncpg"] = take(url)
    rows = []
    for database, seconds in taken.items():
        for name, each in seconds.items():
            more = f"{(each - seconds[PLAIN]) * 1e6:+.1f}" if name != PLAIN else ""
            ratio = f"{each / seconds[PLAIN]:.3f}"
            rows.append([f"{database}, {name}", f"{each * 1e6:.1f}", more, ratio])
    alone = taken.pop(ALONE)
    added = {name: seconds - alone[PLAIN] for name, seconds in alone.items()}
    ratios = {"OpenTelemetry": added[OURS] / added[SPANS]} | {
        database: 1 + added[OURS] / seconds[PLAIN] for database, seconds in taken.items()
    }
    rows += [
        [f"x {name}", f"{ratio:.3f}", "promised", f"{PROMISED[name]:.3f}"]
        for name, ratio in ratios.items()
    ]
    holds = all(ratio <= PROMISED[name] for name, ratio in ratios.items())
    short = {name: round(ratio, 4) for name, ratio in ratios.items()}
    figures = {name: round(seconds * 1e6, 2) for name, seconds in added.items()}
    report(
        "What watching a query adds",
        ["", "µs a query", "µs added", "x not watched"],
        rows,
        {"bench": "queries", "added_us": figures, "x": short, "holds": holds},
    )
    raise SystemExit(not holds)


if __name__ == "__main__":
    main()
