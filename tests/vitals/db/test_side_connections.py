"""Side connections are set up as the host's own are, and seen by the database only."""

import asyncio
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Table,
    create_engine,
    event,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests import servers
from vitals import Objective, instrument
from vitals.db import side_connections
from vitals.db.engines import root_engine
from vitals.db.insight import explain_worker
from vitals.db.insight.explain import explain
from vitals.metrics.catalogue import DB_CONNECTION_CREATE, DB_OPERATION_DURATION, DROPPED
from vitals.testing import Readings, expect_queries

ALL_SLOW = [Objective("queries", ratio=0.9, within=1e-9)]
DRIVERS = ["asyncpg", "psycopg", "sync psycopg"]


async def ask(engine: AsyncEngine | Engine, sql: str) -> Any:
    return await side_connections.run(
        root_engine(engine), lambda connection: connection.exec_driver_sql(sql).scalar()
    )


async def connect(engine: AsyncEngine | Engine) -> None:
    """The host's first connection."""
    if isinstance(engine, AsyncEngine):
        async with engine.connect():
            pass
    else:
        engine.connect().close()


async def dispose(engine: AsyncEngine | Engine) -> None:
    if isinstance(engine, AsyncEngine):
        await engine.dispose()
    else:
        engine.dispose()


def make(url: str, driver: str, **options: Any) -> AsyncEngine | Engine:
    url = url.replace("asyncpg", driver.removeprefix("sync "))
    return (
        create_engine(url, **options) if "sync " in driver else create_async_engine(url, **options)
    )


@pytest.mark.servers
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("connected", [True, False])
def test_search_path_and_role_of_a_connect_listener(
    postgres: servers.Postgres, driver: str, *, connected: bool
) -> None:
    engine = make(postgres.database(), driver)

    @event.listens_for(root_engine(engine), "connect")
    def set_up(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("SET search_path TO pg_catalog, tenant")
        cursor.execute("SET ROLE pg_monitor")
        cursor.close()
        connection.commit()

    async def run() -> None:
        postgres.sql(f"GRANT pg_monitor TO {root_engine(engine).url.username}")
        if connected:
            await connect(engine)
        assert await ask(engine, "SHOW search_path") == "pg_catalog, tenant"
        assert await ask(engine, "SELECT current_role") == "pg_monitor"
        await dispose(engine)

    asyncio.run(run())


@pytest.mark.servers
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("how", ["engine", "copy", "listener"])
def test_transaction_although_the_host_is_in_autocommit_mode(
    postgres: servers.Postgres, driver: str, how: str
) -> None:
    options = {"isolation_level": "AUTOCOMMIT"} if how == "engine" else {}
    engine = make(postgres.database(), driver, **options)
    watched = engine.execution_options(isolation_level="AUTOCOMMIT") if how == "copy" else engine
    if how == "listener" and "psycopg" in driver:

        @event.listens_for(root_engine(engine), "connect")
        def set_up(connection: Any, _record: Any) -> None:
            connection.autocommit = True

    async def run() -> None:
        await connect(watched)
        settled: list[str] = []

        def question(connection: Connection) -> None:
            plan = explain(connection, "SELECT count(*) FROM pg_class", (), analyze=True)
            settled.append(plan.lines[0])
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            shown = connection.exec_driver_sql("SHOW transaction_read_only")
            settled.append(shown.scalar_one())

        await side_connections.run(root_engine(watched), question)
        assert settled[0].startswith("Aggregate")
        assert settled[1] == "on"
        await dispose(engine)

    asyncio.run(run())


@pytest.mark.servers
def test_statement_of_a_translated_schema_is_explained_there(
    postgres: servers.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain_worker, "POLL_INTERVAL", 0.01)
    things = Table("things", MetaData(), Column("id", Integer))
    engine = create_async_engine(postgres.database())
    tenant = engine.execution_options(schema_translate_map={None: "tenant"})
    app = FastAPI()
    kit = instrument(app, engine=engine, objectives=ALL_SLOW, logs=False)

    async def run() -> None:
        async with app.router.lifespan_context(app), asyncio.timeout(60):
            async with engine.begin() as connection:
                await connection.execute(text("CREATE SCHEMA tenant"))
                await connection.execute(text("CREATE TABLE tenant.things (id int)"))
            async with tenant.connect() as connection:
                await connection.execute(select(things).where(things.c.id == 7))
            while "Seq Scan on things" not in str(kit._database._queries.plans):
                await asyncio.sleep(0.01)
        await engine.dispose()

    asyncio.run(run())
    found = {each["db_query_summary"] for each in Readings.of(app).series(DB_OPERATION_DURATION)}
    assert "SELECT things" in found


TENANT: ContextVar[str] = ContextVar("tenant")


@pytest.mark.servers
def test_search_path_of_the_requests_tenant(
    postgres: servers.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener of each checkout chooses the schema by a context variable."""
    monkeypatch.setattr(explain_worker, "POLL_INTERVAL", 0.01)
    url = postgres.database()
    name = url.rpartition("/")[2]
    postgres.sql(
        "CREATE SCHEMA a; CREATE TABLE a.only_a (id int);"
        "GRANT USAGE ON SCHEMA a TO PUBLIC; GRANT SELECT ON a.only_a TO PUBLIC",
        database=name,
    )
    engine = create_async_engine(url)

    @event.listens_for(engine.sync_engine, "checkout")
    def choose(connection: Any, _record: Any, _proxy: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET search_path TO {TENANT.get()}")
        cursor.close()

    app = FastAPI()
    kit = instrument(app, engine=engine, objectives=ALL_SLOW, logs=False)

    async def request() -> None:
        TENANT.set("a")
        async with engine.connect() as connection:
            await connection.execute(text("SELECT id FROM only_a"))

    async def run() -> None:
        async with app.router.lifespan_context(app), asyncio.timeout(60):
            await asyncio.create_task(request())
            while "Seq Scan on only_a" not in str(kit._database._queries.plans):
                await asyncio.sleep(0.01)
        await engine.dispose()

    asyncio.run(run())


@pytest.mark.parametrize("driver", ["sqlite", "sqlite+aiosqlite"])
def test_functions_of_a_connect_listener(tmp_path: Path, driver: str) -> None:
    url = f"{driver}:///{tmp_path}/shop.db"
    engine: Any = create_async_engine(url) if "+" in driver else create_engine(url)

    @event.listens_for(root_engine(engine), "connect")
    def set_up(connection: Any, _record: Any) -> None:
        connection.create_function("slug", 1, str.lower)

    async def run() -> list[str]:
        await connect(engine)
        plan = await side_connections.run(
            root_engine(engine),
            lambda connection: explain(connection, "SELECT slug('A') FROM sqlite_schema", ()),
        )
        await dispose(engine)
        return plan.lines

    assert asyncio.run(run()) == ["SCAN sqlite_schema"]


def test_nobody_sees_a_side_connections_statements(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/shop.db"
    engine = create_async_engine(url, json_serializer=repr)
    app, seen = FastAPI(), []
    instrument(app, engine=engine, logs=False, sqlcommenter=True)
    instrument(FastAPI(), engine="all", logs=False)
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *call: seen.append(call[2]))
    event.listen(engine.sync_engine, "do_execute", lambda *call: seen.append(call[1]))

    async def run() -> None:
        await connect(engine)
        with expect_queries(at_most=0):
            assert await ask(engine, "SELECT 7") == 7
        await engine.dispose()

    asyncio.run(run())
    readings = Readings.of(app)
    assert seen == []
    assert readings.value(DB_OPERATION_DURATION, "_count") == 0
    assert readings.value(DB_CONNECTION_CREATE, "_count") == 1, "the host's own"
    assert readings.value(DROPPED) == 0
