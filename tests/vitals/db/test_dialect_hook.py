"""Dialect hook and engine events observe the same statements, on every driver, sync and async."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests import servers
from vitals.db import dialect_hook

ITEMS = Table("items", MetaData(), Column("id", Integer, primary_key=True), Column("n", Integer))
Recorded = tuple[str, str]
Attach = Callable[[Any, dialect_hook.OnExecuted], None]
METHODS: dict[str, Attach] = {
    "dialect": dialect_hook.hook_dialect,
    "events": dialect_hook.hook_events,
}


class Recorder(list[Recorded]):
    """Records the first word of each statement, with the error's name."""

    seconds = 0.0

    def __call__(self, seconds: float, error: BaseException | None, *call: Any) -> None:
        assert seconds >= 0
        self.seconds += seconds
        self.append((call[1].split()[0], type(error).__name__ if error else ""))

    def take(self) -> list[Recorded]:
        taken = list(self)
        self.clear()
        return taken


@pytest.fixture(params=[*METHODS.values()], ids=[*METHODS])
def attach(request: pytest.FixtureRequest) -> Attach:
    method: Attach = request.param
    return method


def on(url: str, attach: Attach, work: Callable[[AsyncEngine, Recorder], Awaitable[None]]) -> None:
    async def run() -> None:
        engine = create_async_engine(url)
        recorder = Recorder()
        attach(engine.sync_engine, recorder)
        try:
            async with engine.begin() as connection:
                await connection.run_sync(ITEMS.metadata.create_all)
            recorder.take()
            await work(engine, recorder)
        finally:
            await engine.dispose()

    asyncio.run(run())


def test_overridden_do_execute_is_still_called(attach: Attach) -> None:
    engine, done, recorder = create_engine("sqlite://"), [], Recorder()

    class Own(type(engine.dialect)):  # type: ignore[misc]
        def do_execute(self, cursor: Any, statement: str, *more: Any) -> None:
            done.append(statement)
            super().do_execute(cursor, statement, *more)

    engine.dialect.__class__ = Own
    attach(engine, recorder)
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
    engine.dispose()
    assert done == ["SELECT 1"]
    assert recorder.take() == [("SELECT", "")]


async def every_execution_path(engine: AsyncEngine, recorder: Recorder) -> None:
    async with engine.begin() as connection:
        await connection.execute(insert(ITEMS), [{"id": i, "n": i} for i in range(3)])
        assert recorder.take() == [("INSERT", "")], "executemany is one"
        rows = [{"id": i, "n": i} for i in range(100, 2_600)]
        await connection.execute(insert(ITEMS).returning(ITEMS.c.id), rows)
        batches = recorder.take()
        assert len(batches) > 1, "insertmanyvalues is as many as it has batches"
        assert set(batches) == {("INSERT", "")}
        async with connection.stream(select(ITEMS.c.n)) as stream:
            assert len([row async for row in stream]) == 2_503
        assert recorder.take() == [("SELECT", "")], "a stream is one"
        await connection.exec_driver_sql("SELECT 1")
        await connection.exec_driver_sql("SELECT 2", execution_options={"no_parameters": True})
        await connection.execute(text("DELETE FROM items WHERE id = :id"), {"id": 1})
        assert recorder.take() == [("SELECT", ""), ("SELECT", ""), ("DELETE", "")]
    with pytest.raises(IntegrityError):
        await twice(engine)
    assert [word for word, error in recorder.take() if error] == ["INSERT"]
    with pytest.raises(DBAPIError):
        async with engine.connect() as connection:
            await connection.execute(text("SELEKT 1"))
    ((word, error),) = recorder.take()
    assert (word, bool(error)) == ("SELEKT", True)
    await engine.dispose()
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 3"))
    assert ("SELECT", "") in recorder.take(), "a new pool is seen too"


async def twice(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(insert(ITEMS).values(id=100_000))
        await connection.execute(insert(ITEMS).values(id=100_000))


def test_aiosqlite(attach: Attach, tmp_path: Path) -> None:
    on(f"sqlite+aiosqlite:///{tmp_path}/items.db", attach, every_execution_path)


@pytest.mark.servers
def test_asyncpg(attach: Attach, postgres: servers.Postgres) -> None:
    on(postgres.database(), attach, every_execution_path)


def test_sqlite3(attach: Attach) -> None:
    engine = create_engine("sqlite://")
    recorder = Recorder()
    attach(engine, recorder)
    with engine.begin() as connection:
        ITEMS.metadata.create_all(connection)
        recorder.take()
        connection.execute(insert(ITEMS), [{"id": i, "n": i} for i in range(3)])
        with contextlib.suppress(IntegrityError):
            connection.execute(insert(ITEMS).values(id=1))
        connection.exec_driver_sql("SELECT 1", execution_options={"no_parameters": True})
    engine.dispose()
    assert recorder.take() == [("INSERT", ""), ("INSERT", "IntegrityError"), ("SELECT", "")]


@pytest.mark.servers
def test_cancelled_statement_is_reported_with_its_duration(
    attach: Attach, postgres: servers.Postgres
) -> None:
    async def cancel(engine: AsyncEngine, recorder: Recorder) -> None:
        async def sleep() -> None:
            async with engine.connect() as connection:
                await connection.execute(text("SELECT pg_sleep(30)"))

        recorder.seconds = 0.0
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sleep(), 0.2)
        assert recorder.take() == [("SELECT", "CancelledError")]
        assert 0.1 < recorder.seconds < 10
        await still_works(engine)

    on(postgres.database(), attach, cancel)


@pytest.mark.servers
def test_lost_connection_is_reported(attach: Attach, postgres: servers.Postgres) -> None:
    async def vanish(engine: AsyncEngine, recorder: Recorder) -> None:
        async def end_yourself() -> None:
            async with engine.connect() as connection:
                await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

        with pytest.raises(DBAPIError):
            await end_yourself()
        ((word, error),) = recorder.take()
        assert (word, bool(error)) == ("SELECT", True)
        await still_works(engine)

    on(postgres.database(), attach, vanish)


async def still_works(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar() == 1


def test_dialect_hook_is_supported() -> None:
    dialect_hook.is_supported.cache_clear()
    assert dialect_hook.is_supported()


def test_falls_back_to_engine_events_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dialect_hook.is_supported.cache_clear()
    monkeypatch.setattr(dialect_hook, "hook_dialect", lambda *_: None)
    engine = create_engine("sqlite://")
    recorder = Recorder()
    with caplog.at_level(logging.WARNING):
        dialect_hook.attach(engine, recorder)
    dialect_hook.is_supported.cache_clear()
    assert "engine events" in caplog.text
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
    engine.dispose()
    assert recorder.take() == [("SELECT", "")]
    assert not vars(engine.dialect).keys() & set(dialect_hook.WITH_PARAMETERS)
