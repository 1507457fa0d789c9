"""The pool's account stays true when requests are cancelled, and when threads compete."""

import asyncio
import threading
from pathlib import Path
from random import Random

import anyio
import pytest
from fastapi import FastAPI
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from tests import servers
from vitals import instrument
from vitals.metrics.catalogue import (
    DB_CONNECTION_COUNT,
    DB_CONNECTION_CREATE,
    DB_CONNECTION_ERRORS,
    DB_CONNECTION_PENDING,
    DB_CONNECTION_TIMEOUTS,
    DB_CONNECTION_USE,
    DB_CONNECTION_WAIT,
    DROPPED,
)
from vitals.testing import Readings


@pytest.mark.servers
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # SQLAlchemy 2.0 drops cancelled connections
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@pytest.mark.parametrize("how", ["time limit", "task group"])
def test_cancelled_requests(postgres: servers.Postgres, driver: str, how: str) -> None:
    engine = create_async_engine(
        postgres.database().replace("asyncpg", driver), pool_size=3, max_overflow=2
    )
    app, random = FastAPI(), Random(1)  # noqa: S311
    instrument(app, engine=engine, logs=False)

    async def work() -> None:
        async with AsyncSession(engine) as session:
            await session.execute(text("SELECT pg_sleep(:s)"), {"s": random.random() * 0.03})
            async with session.begin_nested():
                await session.execute(text("SELECT 1"))
            stream = await session.stream(text("SELECT generate_series(1, 200)"))
            async for _ in stream:
                await asyncio.sleep(0)

    async def cancelled() -> None:
        if how == "time limit":
            try:
                async with asyncio.timeout(random.random() * 0.05):
                    await work()
            except TimeoutError:
                pass
        else:
            with anyio.move_on_after(random.random() * 0.05):
                async with anyio.create_task_group() as group:
                    group.start_soon(work)

    async def run() -> tuple[int, Readings]:
        for _ in range(5):
            await asyncio.gather(*[cancelled() for _ in range(20)])
        used = engine.pool.checkedout()  # type: ignore[attr-defined]
        readings = Readings.of(app)
        await engine.dispose()
        return used, readings

    used, readings = asyncio.run(run())
    assert used == 0
    assert readings.value(DB_CONNECTION_COUNT, state="used") == 0
    assert readings.value(DB_CONNECTION_PENDING) == 0
    assert readings.value(DROPPED) == 0
    assert readings.value(DB_CONNECTION_USE, "_count") <= 100
    assert readings.value(DB_CONNECTION_WAIT, "_count") == 100


def test_threads_that_compete_for_connections(tmp_path: Path) -> None:
    """The pool asks itself again where one thread took what another saw free."""
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db", pool_size=1, max_overflow=1)
    app = FastAPI()
    instrument(app, engine=engine, logs=False)

    def work() -> None:
        for _ in range(50):
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    readings = Readings.of(app)
    assert readings.value(DB_CONNECTION_WAIT, "_count") == 500
    assert readings.value(DB_CONNECTION_USE, "_count") == 500
    assert readings.value(DB_CONNECTION_PENDING) == 0
    assert readings.value(DB_CONNECTION_COUNT, state="used") == 0
    engine.dispose()


def test_connections_that_are_not_returned_as_usual(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db")
    app = FastAPI()
    instrument(app, engine=engine, logs=False)
    raw = engine.raw_connection()
    raw.detach()
    raw.close()
    with engine.connect() as connection:
        connection.invalidate()
    left = engine.connect()
    del left  # collected, not closed
    readings = Readings.of(app)
    assert readings.value(DB_CONNECTION_WAIT, "_count") == 3
    assert readings.value(DB_CONNECTION_USE, "_count") == 3
    assert readings.value(DB_CONNECTION_COUNT, state="used") == 0
    engine.dispose()


def test_checkouts_that_fail(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/missing/shop.db")
    app = FastAPI()
    instrument(app, engine=engine, logs=False)
    with pytest.raises(DBAPIError):
        engine.connect()
    (tmp_path / "missing").mkdir()
    with engine.connect():
        pass

    @event.listens_for(engine, "checkout")
    def refuse(*_: object) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        engine.connect()
    readings = Readings.of(app)
    assert readings.value(DB_CONNECTION_WAIT, "_count") == 3
    assert readings.value(DB_CONNECTION_CREATE, "_count") == 1
    assert readings.value(DB_CONNECTION_USE, "_count") == 1
    assert readings.value(DB_CONNECTION_TIMEOUTS) == 0
    assert readings.value(DB_CONNECTION_PENDING) == 0
    assert readings.value(DB_CONNECTION_COUNT, state="used") == 0
    engine.dispose()


@pytest.mark.servers
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of connections that the server ended
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_connections_that_the_server_ended_and_refused(
    postgres: servers.Postgres, driver: str
) -> None:
    """The pool says what psql says, while another client has taken all slots of the database."""
    url = postgres.database()
    name = url.rpartition("/")[2]
    engine = create_async_engine(url.replace("asyncpg", driver), pool_size=4)
    app = FastAPI()
    instrument(app, engine=engine, logs=False)

    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

    def sessions() -> int:
        """As PostgreSQL counts them."""
        return int(postgres.sql(f"SELECT count(*) {others}", database=name))

    def connections(state: str) -> float:
        return Readings.of(app).value(DB_CONNECTION_COUNT, state=state)

    async def agreed(idle: int, used: int) -> None:
        async with asyncio.timeout(30):
            while sessions() != idle + used or connections("idle") != idle:
                await asyncio.sleep(0.02)
        assert connections("used") == used

    async def run() -> None:
        held = [await engine.connect() for _ in range(4)]
        for connection in held[1:]:
            await connection.close()
        await held[0].execute(text("SELECT 1"))
        await agreed(idle=3, used=1)
        postgres.sql(f'ALTER DATABASE "{name}" CONNECTION LIMIT 0')
        postgres.sql(f"SELECT pg_terminate_backend(pid) {others}", database=name)
        await agreed(idle=0, used=0)
        with pytest.raises(DBAPIError):
            await held[0].execute(text("SELECT 1"))
        await held[0].close()
        refused = 0
        for _ in range(10):
            try:
                async with engine.connect() as connection:
                    await connection.execute(text("SELECT 1"))
            except Exception:  # noqa: BLE001 - each driver has its own
                refused += 1
        await agreed(idle=0, used=0)
        counted = Readings.of(app).value(DB_CONNECTION_ERRORS)
        with_one = Readings.of(app).series(DB_CONNECTION_ERRORS)
        # Without a ping, the driver notices with the first statement of each connection.
        assert 7 <= counted <= refused == 10, with_one
        postgres.sql(f'ALTER DATABASE "{name}" CONNECTION LIMIT -1')
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            await agreed(idle=0, used=1)
        assert Readings.of(app).value(DB_CONNECTION_ERRORS) == counted
        await engine.dispose()

    asyncio.run(run())


def test_a_cancelled_checkout_is_told_apart_from_a_failed_one(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db")
    app = FastAPI()
    instrument(app, engine=engine, logs=False)

    @event.listens_for(engine, "checkout")
    def cancel(*_: object) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        engine.connect()
    readings = Readings.of(app)
    assert readings.value(DB_CONNECTION_ERRORS, error_type="CancelledError") == 1
    assert readings.value(DB_CONNECTION_ERRORS) == 1
    engine.dispose()
