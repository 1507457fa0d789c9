"""Lock watch: time series of who blocks whom, by one reader that does not burden the server."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests import servers
from vitals import instrument
from vitals.db.locks import lock_metrics, lock_watch
from vitals.db.locks.lock_metrics import MAX_BLOCKERS, LockMetrics
from vitals.db.locks.lock_waits import LockWait
from vitals.metrics.catalogue import (
    DB_LOCK_BLOCKED,
    DB_LOCK_BLOCKER_PID,
    DB_LOCK_BLOCKING,
    DB_LOCK_SAMPLE_TIME,
    DB_LOCK_TRANSACTION,
    DB_LOCK_WAIT,
    DB_LOCK_WAITING,
)
from vitals.metrics.meter import Meter
from vitals.testing import Readings

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def _short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SAMPLE_INTERVAL", "POOLED_INTERVAL", "STANDBY_INTERVAL"):
        monkeypatch.setattr(lock_watch, name, 0.05)


class Watched:
    """A service that watches one database."""

    def __init__(self, url: str, **options: Any) -> None:
        self.engine = create_async_engine(url, **options)
        self.app = FastAPI()
        instrument(self.app, engine=self.engine, logs=False, service_name="shop")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self.app.router.lifespan_context(self.app):
            yield
        await self.engine.dispose()

    async def use(self) -> None:
        """What the host does with its database before the kit does anything."""
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    def value(self, metric: Any, **labels: str) -> float:
        return Readings.of(self.app).value(metric, **labels)

    async def sampled(self, *, after: float = 0.0) -> float:
        """Wait for a sample that is later than another one; returns its time."""
        await until(lambda: self.value(DB_LOCK_SAMPLE_TIME), lambda time: time > after)
        return self.value(DB_LOCK_SAMPLE_TIME)


async def until(read: Callable[[], Any], holds: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(60):
        while not holds(found := read()):
            await asyncio.sleep(0.05)
    return found


@asynccontextmanager
async def conflict(engine: AsyncEngine, name: str = "psql") -> AsyncIterator[int]:
    """One session in a transaction that another one waits for; yields the first one's PID."""
    holder = create_async_engine(engine.url, connect_args={"server_settings": {
        "application_name": name}})  # fmt: skip
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS t AS SELECT 'planted' AS x"))
    async with holder.connect() as first, engine.connect() as second:
        pid = (await first.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        await first.execute(text("LOCK TABLE t"))
        waiting = asyncio.create_task(second.execute(text("UPDATE t SET x = 'planted too'")))
        try:
            yield pid
        finally:
            await first.rollback()
            await waiting
            await second.rollback()
    await holder.dispose()


def readers(apps: list[Watched]) -> list[Watched]:
    """Those that have read."""
    return [app for app in apps if app.value(DB_LOCK_SAMPLE_TIME)]


def sessions(postgres: servers.Postgres) -> int:
    name = lock_watch.APPLICATION_NAME
    sql = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'"  # noqa: S608
    return int(postgres.sql(sql))


@pytest.mark.servers
def test_series_name_who_blocks_and_end_with_it(
    postgres: servers.Postgres, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_metrics, "TOLD_AFTER", 0.0)
    watched = Watched(postgres.database())

    async def run() -> None:
        async with watched.running():
            await watched.use()
            await watched.sampled()
            assert watched.value(DB_LOCK_WAITING) == 0
            async with conflict(watched.engine) as pid:
                await until(lambda: watched.value(DB_LOCK_BLOCKER_PID), lambda found: found == pid)
                labels = {
                    "db_namespace": str(watched.engine.url.database),
                    "application": "psql",
                    "state": "idle in transaction",
                    "db_query_summary": "LOCK t",
                }
                await until(lambda: watched.value(DB_LOCK_WAIT, **labels), lambda wait: wait > 1)
                (pair,) = Readings.of(watched.app).series(DB_LOCK_WAIT)
                assert pair == labels | {"waiting_query_summary": "UPDATE t"}
                assert watched.value(DB_LOCK_WAITING) == 1
                assert watched.value(DB_LOCK_BLOCKED, **labels) == 1
                age = watched.value(DB_LOCK_TRANSACTION, **labels)
                assert age > watched.value(DB_LOCK_BLOCKING, **labels) - 0.5 > 0.4
            await until(lambda: watched.value(DB_LOCK_BLOCKING), lambda blocking: blocking == 0)
            for metric in (DB_LOCK_WAITING, DB_LOCK_BLOCKED, DB_LOCK_BLOCKER_PID, DB_LOCK_WAIT):
                assert watched.value(metric) == 0

    asyncio.run(run())
    assert sessions(postgres) == 0
    assert "planted" not in caplog.text


@pytest.mark.servers
def test_one_reader_for_each_service_and_another_when_it_ends(postgres: servers.Postgres) -> None:
    url = postgres.database()
    apps = [Watched(url) for _ in range(3)]

    async def run() -> None:
        async with apps[0].running():
            await apps[0].use()
            first = await apps[0].sampled()
            async with apps[1].running(), apps[2].running():
                await apps[1].use()
                await apps[2].use()
                await apps[0].sampled(after=first + 1)
                assert 1 <= sessions(postgres) <= 3  # the others look for a moment
                assert readers(apps) == apps[:1]
                await apps[0].engine.dispose()  # its reader ends with it
                await until(lambda: readers(apps[1:]), lambda found: len(found) == 1)

    asyncio.run(run())
    assert sessions(postgres) == 0


@pytest.mark.servers
def test_nothing_is_connected_before_the_host_does(postgres: servers.Postgres) -> None:
    url = postgres.database()
    name = url.rpartition("/")[2]
    watched = Watched(url)
    sql = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608

    async def run() -> None:
        async with watched.running():
            await asyncio.sleep(1.5)  # more than a turn of the watch
            assert postgres.sql(sql) == "0"
            await watched.use()
            await watched.sampled()

    asyncio.run(run())
    assert postgres.sql(sql) == "0"


@pytest.mark.servers
def test_behind_a_pooler_no_lock_is_left_in_its_sessions(
    postgres: servers.Postgres, pgbouncer: servers.PgBouncer
) -> None:
    url = postgres.database()
    watched = Watched(pgbouncer.of(url), connect_args={
        "statement_cache_size": 0, "prepared_statement_cache_size": 0})  # fmt: skip

    async def run() -> None:
        async with watched.running():
            await watched.use()
            first = await watched.sampled()
            await watched.sampled(after=first)
            advisory = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            assert postgres.sql(advisory) == "0"

    asyncio.run(run())


@pytest.mark.servers
def test_reader_that_is_stuck_is_replaced(
    postgres: servers.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_watch, "STALE", 1.0)
    url = postgres.database()
    watched = Watched(url)
    key = zlib.crc32(b"shop") & 0x7FFFFFFF

    async def run() -> None:
        other = create_async_engine(url)
        async with other.connect() as stuck:
            # It holds the lock and asks nothing any more.
            lock = text("SELECT pg_advisory_lock(:class, :key)")
            await stuck.execute(lock, {"class": lock_watch._CLASS, "key": key})
            async with watched.running():
                await watched.use()
                await watched.sampled()
        await other.dispose()

    asyncio.run(run())


@pytest.mark.servers
def test_synchronous_engine(postgres: servers.Postgres) -> None:
    engine = create_engine(postgres.database().replace("asyncpg", "psycopg"))
    app = FastAPI()
    instrument(app, engine=engine, logs=False, service_name="shop")

    async def run() -> None:
        async with app.router.lifespan_context(app):
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
            await until(lambda: Readings.of(app).value(DB_LOCK_SAMPLE_TIME), lambda time: time > 0)
            assert sessions(postgres) == 1

    asyncio.run(run())
    engine.dispose()
    assert sessions(postgres) == 0


@pytest.mark.servers
def test_lost_connection_is_made_again(postgres: servers.Postgres) -> None:
    watched = Watched(postgres.database())

    async def run() -> None:
        async with watched.running():
            await watched.use()
            before = await watched.sampled()
            assert sessions(postgres) == 1
            postgres.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'vitals locks'"
            )
            await watched.sampled(after=before + 0.5)

    asyncio.run(run())


def wait(pid: int, *, blocking: str = "LOCK t", transaction: float | None = 100.0, waited: float
         = 5.0, advisory: bool = False) -> LockWait:  # fmt: skip
    return LockWait(
        pid + 1, pid, waited, transaction, "UPDATE t", blocking, "UPDATE t", blocking, "idle",
        "shop", "psql", "me", "a row", advisory,
    )  # fmt: skip


def values(meter: Meter, metric: Any) -> list[float]:
    return [child.value for child in meter.gauge(metric).children.values()]


def test_transaction_that_stays_open_blocks_though_nobody_waits_for_a_while() -> None:
    meter = Meter()
    metrics = LockMetrics(meter, "shop")
    metrics.record([wait(7)], {}, lambda: 1_000.0)
    assert values(meter, DB_LOCK_BLOCKING) == [5.0]
    metrics.record([], {7: 900.0}, lambda: 1_060.0)  # the statement gave up, none waits
    assert values(meter, DB_LOCK_BLOCKING) == [65.0]
    assert values(meter, DB_LOCK_BLOCKED) == [0.0]
    assert values(meter, DB_LOCK_BLOCKER_PID) == [7.0]
    metrics.record([], {7: 900.0}, lambda: 1_000.0 + lock_metrics.GAP + 1)
    assert values(meter, DB_LOCK_BLOCKING) == [0.0]


def test_another_transaction_of_the_session_starts_anew() -> None:
    meter = Meter()
    metrics = LockMetrics(meter, "shop")
    metrics.record([wait(7)], {}, lambda: 1_000.0)
    metrics.record([], {7: 1_010.0}, lambda: 1_020.0)
    assert values(meter, DB_LOCK_BLOCKING) == [0.0]
    metrics.record([wait(7, transaction=3.0, waited=2.0)], {}, lambda: 1_030.0)
    assert values(meter, DB_LOCK_BLOCKING) == [2.0]


def test_unknown_age_has_no_series_and_advisory_locks_are_left_out() -> None:
    meter = Meter()
    metrics = LockMetrics(meter, "shop")
    metrics.record([wait(7, transaction=None), wait(9, advisory=True)], {}, lambda: 1_000.0)
    assert values(meter, DB_LOCK_TRANSACTION) == []
    assert values(meter, DB_LOCK_WAITING) == [1.0]


def test_label_sets_are_limited() -> None:
    meter = Meter()
    metrics = LockMetrics(meter, "shop")
    for number in range(200):
        metrics.record([wait(7, blocking=f"LOCK t{number}")], {}, lambda: 1_000.0)
    assert len(values(meter, DB_LOCK_BLOCKED)) == MAX_BLOCKERS + 1
    assert sum(values(meter, DB_LOCK_BLOCKED)) == 1
