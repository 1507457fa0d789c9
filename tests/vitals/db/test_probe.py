"""The query probe on real databases: SQLite in process, PostgreSQL where marked."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, event, insert, select, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from tests import servers
from tests.vitals.client import fetch
from vitals import Objective, instrument
from vitals.db.insight import explain_worker
from vitals.metrics.catalogue import (
    DB_CONNECTION_COUNT,
    DB_CONNECTION_CREATE,
    DB_CONNECTION_MAX,
    DB_CONNECTION_PENDING,
    DB_CONNECTION_TIMEOUTS,
    DB_CONNECTION_USE,
    DB_CONNECTION_WAIT,
    DB_OPERATION_DURATION,
    DB_QUERIES_PER_REQUEST,
    DB_SLOW_QUERIES,
    DB_SLOW_QUERY_THRESHOLD,
    DROPPED,
)
from vitals.testing import Readings

ITEMS = Table("items", MetaData(), Column("id", Integer, primary_key=True), Column("n", Integer))
SLOW = Objective("queries", ratio=0.9, within=0.05)
Work = Callable[[AsyncEngine], Awaitable[None]]


def measure(url: str, work: Work, **options: object) -> Readings:
    """Metrics after some work on a new engine."""
    engine = create_async_engine(url, **options)
    app = FastAPI()
    instrument(app, engine=engine, objectives=[SLOW], logs=False)

    async def run() -> None:
        try:
            await work(engine)
        finally:
            await engine.dispose()

    asyncio.run(run())
    return Readings.of(app)


async def fill(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(ITEMS.metadata.create_all)
        await connection.execute(insert(ITEMS), [{"id": i, "n": i} for i in range(3)])


def file_url(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder / 'shop.db'}"


def test_every_execution_path_is_timed(tmp_path: Path) -> None:
    async def work(engine: AsyncEngine) -> None:
        await fill(engine)
        async with engine.begin() as connection:
            await connection.execute(select(ITEMS).where(ITEMS.c.id.in_([1, 2])))
            await connection.execute(select(ITEMS).where(ITEMS.c.id.in_([1, 2, 3])))
            await connection.exec_driver_sql("DELETE FROM items WHERE n > 1")
            async with connection.stream(select(ITEMS.c.n)) as rows:
                assert len([row async for row in rows]) == 2

    readings = measure(file_url(tmp_path), work)

    def calls(summary: str) -> float:
        return readings.value(DB_OPERATION_DURATION, "_count", db_query_summary=summary)

    assert calls("INSERT items") == 1
    assert calls("SELECT items") == 3
    assert calls("DELETE items") == 1
    selects = [
        labels["db_query_fingerprint"]
        for labels in readings.series(DB_OPERATION_DURATION)
        if labels["db_query_summary"] == "SELECT items"
    ]
    assert len(selects) == 2, "an IN list of any length is one query"


def test_a_sync_engine_is_timed_too() -> None:
    engine = create_engine("sqlite://")
    app = FastAPI()
    instrument(app, engine=engine, logs=False)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    engine.dispose()
    assert Readings.of(app).value(DB_OPERATION_DURATION, "_count", db_operation_name="SELECT") == 1


def test_a_failed_statement_is_counted_with_its_error_and_raised() -> None:
    async def work(engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            with pytest.raises(OperationalError, match="no such table"):
                await connection.execute(text("SELECT secret FROM nowhere"))

    readings = measure("sqlite+aiosqlite://", work)
    (failed,) = (s for s in readings.series(DB_OPERATION_DURATION) if s["error_type"])
    assert failed["error_type"] == "OperationalError"


def test_queries_are_counted_by_request() -> None:
    engine = create_async_engine("sqlite+aiosqlite://")
    app = FastAPI()

    @app.get("/many/{how_many}")
    async def many(how_many: int) -> None:
        async with engine.connect() as connection:
            for number in range(how_many):
                await connection.execute(text(f"SELECT {number}"))

    @app.get("/threaded")
    def threaded() -> None:
        with sync.connect() as connection:
            connection.execute(text("SELECT 1"))

    sync = create_engine("sqlite://")
    instrument(app, engine=[engine, sync], logs=False)
    fetch(app, "GET", "/many/7")
    fetch(app, "GET", "/many/3")
    fetch(app, "GET", "/threaded")
    asyncio.run(engine.dispose())
    sync.dispose()
    readings = Readings.of(app)
    assert readings.value(DB_QUERIES_PER_REQUEST, "_sum", http_route="/many/{how_many}") == 10
    assert readings.value(DB_QUERIES_PER_REQUEST, "_count", http_route="/many/{how_many}") == 2
    assert readings.value(DB_QUERIES_PER_REQUEST, "_sum", http_route="/threaded") == 1


def test_a_probe_that_fails_does_not_fail_the_query(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitals.db.statements.fingerprint.Fingerprints.of", lambda *_: 1 / 0)

    async def work(engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            assert (await connection.execute(text("SELECT 1"))).scalar() == 1

    assert measure("sqlite+aiosqlite://", work).value(DROPPED, reason="query_probe") >= 1


def test_pool_waits_and_checkout_timeouts(tmp_path: Path) -> None:
    engine = create_async_engine(
        file_url(tmp_path),
        poolclass=AsyncAdaptedQueuePool,  # SQLite's default before SQLAlchemy 2.0.38: NullPool
        pool_size=2,
        max_overflow=1,
        pool_timeout=0.1,
    )
    app = FastAPI()
    instrument(app, engine=engine, logs=False)

    async def work() -> Readings:
        held = [await engine.connect() for _ in range(3)]
        waiting = asyncio.create_task(engine.connect().start())
        while not Readings.of(app).value(DB_CONNECTION_PENDING):
            await asyncio.sleep(0.005)
        during = Readings.of(app)
        with pytest.raises(PoolTimeoutError):
            await waiting
        for connection in held:
            await connection.close()
        return during

    during = asyncio.run(work())
    after = Readings.of(app)
    asyncio.run(engine.dispose())
    assert during.value(DB_CONNECTION_COUNT, state="used") == 3
    assert during.value(DB_CONNECTION_MAX) == 3
    assert during.value(DB_CONNECTION_TIMEOUTS) == 0
    assert after.value(DB_CONNECTION_TIMEOUTS) == 1
    assert after.value(DB_CONNECTION_PENDING) == 0
    assert after.value(DB_CONNECTION_COUNT, state="used") == 0
    assert after.value(DB_CONNECTION_WAIT, "_count") == 4
    assert after.value(DB_CONNECTION_WAIT, "_sum") >= 0.1
    assert after.value(DB_CONNECTION_CREATE, "_count") == 3
    assert after.value(DB_CONNECTION_USE, "_count") == 3
    # Each of the three was in use while the fourth checkout timed out.
    assert after.value(DB_CONNECTION_USE, "_sum") >= 0.3
    assert [s["db_client_connection_pool_name"] for s in after.series(DB_CONNECTION_MAX)] == [
        "shop.db"
    ]


def test_a_disposed_engines_new_pool_is_measured_once(tmp_path: Path) -> None:
    async def work(engine: AsyncEngine) -> None:
        for _ in range(3):
            async with engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
            await engine.dispose()

    readings = measure(file_url(tmp_path), work)
    assert readings.value(DB_CONNECTION_WAIT, "_count") == 3
    assert readings.value(DB_CONNECTION_USE, "_count") == 3


def test_do_connect_listener_of_the_host_is_called(tmp_path: Path) -> None:
    async def work(engine: AsyncEngine) -> None:
        hosts: list[str] = []

        @event.listens_for(engine.sync_engine, "do_connect")
        def record_host(_dialect: Any, _record: Any, where: list[str], _options: Any) -> None:
            hosts.append(where[0])

        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        assert hosts == [str(tmp_path / "shop.db")]

    assert measure(file_url(tmp_path), work).value(DB_CONNECTION_CREATE, "_count") == 1


@pytest.mark.servers
def test_postgres_slow_cancelled_and_bulk_statements(postgres: servers.Postgres) -> None:
    async def work(engine: AsyncEngine) -> None:
        await fill(engine)
        async with engine.connect() as connection:
            await connection.execute(text("SELECT pg_sleep(0.06)"))
            await connection.execute(text("SELECT pg_sleep(0)"))
        async with engine.connect() as connection, engine.connect() as observer:
            cancelled = asyncio.ensure_future(connection.execute(text("SELECT 7, pg_sleep(30)")))
            running = text(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT 7, %' "
                "AND clock_timestamp() - query_start > interval '0.1 s'"
            )
            async with asyncio.timeout(60):
                while not await observer.scalar(running):
                    # The view is a snapshot of the transaction.
                    await observer.rollback()
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            await connection.invalidate()
        async with engine.connect() as connection:
            with pytest.raises(DBAPIError):
                await connection.execute(text("SELECT 1/0"))
            await connection.rollback()
            inserted = insert(ITEMS).returning(ITEMS.c.id)
            await connection.execute(inserted, [{"id": i, "n": 1} for i in range(100, 2100)])

    readings = measure(postgres.database(), work)
    assert readings.value(DB_SLOW_QUERY_THRESHOLD) == 0.05
    assert readings.value(DB_SLOW_QUERIES) >= 2
    errors = {s["error_type"] for s in readings.series(DB_OPERATION_DURATION)}
    assert "CancelledError" in errors
    assert len(errors) == 3, "none, the cancellation, and the division by zero"
    assert {s["db_system_name"] for s in readings.series(DB_OPERATION_DURATION)} == {"postgresql"}
    bulk = {
        s["db_query_fingerprint"]
        for s in readings.series(DB_OPERATION_DURATION)
        if s["db_query_summary"] == "INSERT items"
    }
    assert len(bulk) == 2, "all batches of a bulk insert are one query"


BLOATED = """
import resource
from sqlalchemy import create_engine
from vitals.metrics.meter import Meter
from vitals.objectives import Objectives
from vitals.db.probe import QueryProbe
from vitals.asgi.request_context import CURRENT, RequestContext

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

engine = create_engine("sqlite://", query_cache_size=0)
probe = QueryProbe(Meter(), Objectives())
probe.instrument(engine)
request = RequestContext({"type": "http", "path": "/", "headers": []}, "GET")
with engine.connect() as connection:
    connection.exec_driver_sql("SELECT 1").all()
    before = resident()
    CURRENT.set(request)
    for number in range(20_000):
        connection.exec_driver_sql(f"SELECT 1 AS c{number}, '{number}' AS {'x' * 200}").all()
    probe.finish(request)
print((resident() - before) / 1e6)
"""


@pytest.mark.slow
def test_memory_is_bounded_with_twenty_thousand_statements() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOATED], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 10


ODD = [
    "",
    "\0",
    "SELECT '\0",
    "/* only */",
    "SELEKT",
    "a;b;c",
    "((((" * 2_000,
    "SELECT '" + "x" * 10**6,
    "COPY t FROM STDIN",
    "WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a",
    "\ud800",
    "$a$x",
]


@pytest.mark.parametrize("sql", ODD, ids=range(len(ODD)))
def test_unusual_statements_are_counted_and_fail_unchanged(sql: str) -> None:
    engine = create_engine("sqlite://")
    app = FastAPI()
    instrument(app, engine=engine, logs=False)
    # Any error of the database is fine.
    with engine.connect() as connection, suppress(Exception):
        connection.exec_driver_sql(sql)
    engine.dispose()
    readings = Readings.of(app)
    assert readings.value(DB_OPERATION_DURATION, "_count") == 1
    assert readings.value(DROPPED, reason="query_probe") == 0


@pytest.mark.servers
def test_unusual_statements_on_postgres_are_counted_and_change_nothing(
    postgres: servers.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain_worker, "POLL_INTERVAL", 0.01)
    monkeypatch.setattr(explain_worker, "MAX_PER_MINUTE", 1_000)
    engine = create_async_engine(postgres.database(), isolation_level="AUTOCOMMIT")
    app = FastAPI()
    every = [Objective("queries", ratio=0.9, within=1e-9)]
    instrument(app, engine=engine, objectives=every, logs=False, explain="analyze")
    odd = [
        *ODD,
        "COPY (SELECT 1) TO STDOUT",
        "SELECT 1; INSERT INTO t VALUES (9)",
        "SELECT '" + "x" * 10**6 + "'",
        "SELECT count(*) FROM t WHERE n = " + "(" * 500 + "1" + ")" * 500,
    ]

    before: list[float] = []

    async def run() -> int:
        async with app.router.lifespan_context(app), asyncio.timeout(60):
            async with engine.connect() as connection:
                await connection.exec_driver_sql("CREATE TABLE t (n int)")
                await connection.exec_driver_sql("INSERT INTO t VALUES (1), (2)")
            before.append(Readings.of(app).value(DB_OPERATION_DURATION, "_count"))
            for sql in odd:
                # Any error of the database is fine; for COPY the driver never returns.
                with suppress(Exception):
                    async with asyncio.timeout(1), engine.connect() as connection:
                        await connection.exec_driver_sql(sql)
            with suppress(Exception):
                async with engine.connect() as connection:
                    gone = "SELECT pg_terminate_backend(pg_backend_pid()), count(*) FROM t"
                    await connection.exec_driver_sql(gone)
            queries = app.state.vitals._database._queries
            while queries.explain_worker._queue:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            async with engine.connect() as connection:
                left = (await connection.exec_driver_sql("SELECT count(*) FROM t")).scalar_one()
        await engine.dispose()
        return int(left)

    assert asyncio.run(run()) == 0, "the DELETE in the list ran once, and nothing inserted since"
    readings = Readings.of(app)
    assert readings.value(DB_OPERATION_DURATION, "_count") - before[0] == len(odd) + 2
    assert readings.value(DROPPED, reason="query_probe") == 0
