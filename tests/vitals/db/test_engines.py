"""Engines are watched whenever they are made, each once, and given up when they are gone."""

import asyncio
import gc
import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, QueuePool

import vitals
from tests.vitals.client import fetch
from vitals import instrument
from vitals.metrics.catalogue import (
    DB_CONNECTION_COUNT,
    DB_CONNECTION_CREATE,
    DB_CONNECTION_MAX,
    DB_CONNECTION_USE,
    DB_CONNECTION_WAIT,
    DB_OPERATION_DURATION,
    DB_QUERIES_PER_REQUEST,
    DROPPED,
)
from vitals.testing import Readings

POOL = "db_client_connection_pool_name"


def statements(app: FastAPI) -> float:
    return Readings.of(app).value(DB_OPERATION_DURATION, "_count")


def pools(app: FastAPI) -> list[str]:
    return [labels[POOL] for labels in Readings.of(app).series(DB_CONNECTION_MAX)]


def send(engine: Engine, times: int = 1) -> None:
    for _ in range(times):
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))


def asking(engines: Callable[[], Engine]) -> FastAPI:
    """An application whose only route sends two statements."""
    app = FastAPI()

    @app.get("/ask")
    def ask() -> None:
        send(engines(), 2)

    return app


def file_engine(folder: Path, name: str = "shop.db", **options: Any) -> Engine:
    return create_engine(f"sqlite:///{folder / name}", **options)


# -- When ------------------------------------------------------------------------------------


async def serve(app: FastAPI, *paths: str) -> None:
    transport = httpx.ASGITransport(app)
    async with (
        LifespanManager(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        for path in paths:
            assert (await client.get(path)).status_code == 200


Watch = Callable[[FastAPI, AsyncEngine], object]
WAYS: dict[str, Watch] = {
    "method": lambda app, engine: app.state.vitals.watch(engine),
    "function": vitals.watch,
    "function of instrument": lambda _app, _engine: None,
    "every engine": lambda _app, _engine: None,
    "instrument": lambda app, engine: instrument(app, engine=engine, logs=False),
}


@pytest.mark.parametrize("way", WAYS)
def test_engine_made_in_the_lifespan(tmp_path: Path, way: str) -> None:
    made: list[AsyncEngine] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        made.append(create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db"))
        WAYS[way](app, made[-1])
        yield
        await made[-1].dispose()

    app = FastAPI(lifespan=lifespan)

    @app.get("/ask")
    async def ask() -> None:
        async with made[-1].connect() as connection:
            await connection.execute(text("SELECT 1"))

    if way == "function of instrument":
        instrument(app, engine=lambda: made[-1], logs=False)
    elif way != "instrument":
        instrument(app, engine="all" if way == "every engine" else None, logs=False)
    for _ in range(2):  # with the second start there is another engine
        asyncio.run(serve(app, "/ask", "/ask", "/metrics"))
    readings = Readings.of(app)
    expected = 2 if way == "function of instrument" else 4
    assert readings.value(DB_OPERATION_DURATION, "_count") == expected
    assert readings.value(DB_QUERIES_PER_REQUEST, "_sum", http_route="/ask") == expected
    assert pools(app) == ["shop.db"], "the disposed engine's name is given again"


def test_engine_made_while_serving(tmp_path: Path) -> None:
    made: list[Engine] = []

    def get() -> Engine:
        if not made:
            made.append(file_engine(tmp_path))
            vitals.watch(app, made[0], name="lazy")
        return made[0]

    app = asking(get)
    instrument(app, logs=False)
    fetch(app, "GET", "/ask")
    fetch(app, "GET", "/ask")
    readings = Readings.of(app)
    assert readings.value(DB_OPERATION_DURATION, "_count") == 4
    assert readings.value(DB_QUERIES_PER_REQUEST, "_sum") == 4
    assert pools(app) == ["lazy"]
    made[0].dispose()


def test_function_is_called_again_until_there_is_an_engine(tmp_path: Path) -> None:
    made: list[Engine] = []
    app = FastAPI()
    instrument(app, engine=lambda: made[0] if made else None, logs=False)
    other = FastAPI()
    instrument(other, engine=lambda: {"named": made[0]}, logs=False)  # which raises at first
    assert pools(app) == pools(other) == []
    made.append(file_engine(tmp_path))
    assert (pools(app), pools(other)) == (["shop.db"], ["named"])
    send(made[0])
    assert (statements(app), statements(other)) == (0, 1), "with the newest application"
    made[0].dispose()


def test_every_engine_is_found_before_and_after(tmp_path: Path) -> None:
    before, app = file_engine(tmp_path), FastAPI()
    send(before)
    instrument(app, engines="all", logs=False)
    after = file_engine(tmp_path, "late.db")
    copy = after.execution_options(schema_translate_map={None: "main"})
    send(before)
    send(after)
    send(copy)
    with after.connect() as connection:
        connection.execute(text("SELECT 1"))
    readings = Readings.of(app)
    assert readings.value(DB_OPERATION_DURATION, "_count") == 4
    assert sorted(pools(app)) == ["late.db", "shop.db"]
    assert readings.value(DB_CONNECTION_USE, "_count") == 4
    before.dispose()
    after.dispose()


def test_found_engines_have_names_that_do_not_depend_on_their_order() -> None:
    """The first connection of several workers may be any of them."""
    for order in (1, -1):
        app = FastAPI()
        instrument(app, engine="all", logs=False)
        hosts = ["primary:5433", "replica"][::order]
        engines = [
            create_engine(
                f"postgresql+psycopg://u:p@{host}/shop", creator=lambda: sqlite3.connect("")
            )
            for host in hosts
        ]
        for engine in engines:
            app.state.vitals._database.watch(engine, found=True)
        assert sorted(pools(app)) == ["primary:5433/shop", "replica/shop"]


def test_start_says_what_is_watched(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def line(**options: Any) -> str:
        app = FastAPI()
        instrument(app, logs=False, **options)
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="vitals"):
            asyncio.run(serve(app))
        (record,) = [each for each in caplog.records if "vitals watches" in each.message]
        return record.message

    engine, made = file_engine(tmp_path), dict[str, Engine]()
    assert "no engine: database panels stay empty" in line()
    assert "engines shop.db" in line(engine=engine)
    assert "engines a, b" in line(engine={"a": engine, "b": file_engine(tmp_path)})
    assert "every engine from its first connection on" in line(engine="all")
    assert "no engine yet from the function passed (KeyError)" in line(
        engine=lambda: made["secret"]
    )
    assert "(TypeError)" in line(engine=_async_engine)


async def _async_engine() -> Any:
    """A coroutine function, which cannot be called everywhere."""


@pytest.mark.parametrize("wrong", ["every", 7, [7], {"a": 7}, object()])
def test_what_is_no_engine_is_refused(wrong: Any) -> None:
    app = FastAPI()
    with pytest.raises(TypeError, match="engine"):
        instrument(app, engine=wrong, logs=False)
    instrument(app, logs=False)
    with pytest.raises(TypeError, match="no engine of SQLAlchemy"):
        app.state.vitals.watch(wrong)
    with pytest.raises(RuntimeError, match=r"call instrument\(app\) first"):
        vitals.watch(FastAPI(), create_engine("sqlite://"))


# -- Once ------------------------------------------------------------------------------------


def test_copies_count_once(tmp_path: Path) -> None:
    engine = file_engine(tmp_path)
    copy = engine.execution_options(isolation_level="AUTOCOMMIT")
    app = FastAPI()
    kit = instrument(app, engine=[copy, engine], logs=False)
    kit.watch(engine.execution_options(logging_token="x"))
    kit.watch(engine)
    send(engine)
    send(copy)
    copy.dispose()
    send(copy)
    readings = Readings.of(app)
    assert readings.value(DB_OPERATION_DURATION, "_count") == 3
    assert readings.value(DB_CONNECTION_WAIT, "_count") == 3
    assert readings.value(DB_CONNECTION_USE, "_count") == 3
    assert readings.value(DB_CONNECTION_CREATE, "_count") == 2
    assert pools(app) == ["shop.db"]
    engine.dispose()


def test_copies_of_async_engines_count_once(tmp_path: Path) -> None:
    app = FastAPI()

    async def work() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db")
        copy = engine.execution_options(isolation_level="AUTOCOMMIT")
        instrument(app, engine=[engine, copy, AsyncEngine(engine.sync_engine)], logs=False)
        for each in (engine, copy):
            async with each.connect() as connection:
                await connection.execute(text("SELECT 1"))
        await copy.dispose()

    asyncio.run(work())
    assert statements(app) == 2
    assert pools(app) == ["shop.db"]


def test_applications_share_an_engine(tmp_path: Path) -> None:
    """A request counts with its application, what no request sends with the newest."""
    engine = file_engine(tmp_path)
    apps = [asking(lambda: engine) for _ in range(3)]
    for app in apps:
        instrument(app, engine=engine, logs=False, sqlcommenter=True)
    apps[0].mount("/inner", apps[2])
    fetch(apps[1], "GET", "/ask")
    fetch(apps[0], "GET", "/inner/ask")
    fetch(apps[0], "GET", "/ask")
    send(engine, 5)
    assert [statements(app) for app in apps] == [2, 2, 7]
    for app in apps:
        readings = Readings.of(app)
        assert readings.value(DB_QUERIES_PER_REQUEST, "_sum", http_route="/ask") == 2
        assert readings.value(DB_CONNECTION_WAIT, "_count") == statements(app)
        assert readings.value(DB_CONNECTION_USE, "_count") == statements(app)
        assert readings.value(DB_CONNECTION_COUNT, state="idle") == 1, "of the pool itself"
    engine.dispose()


def test_sync_and_async_engines_of_one_database(tmp_path: Path) -> None:
    app = FastAPI()

    async def work() -> None:
        sync = file_engine(tmp_path)
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db")
        instrument(app, engines=[engine, sync], logs=False)
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            await connection.execute(text("SELECT 1"))
        await asyncio.to_thread(send, sync)
        await engine.dispose()
        sync.dispose()

    asyncio.run(work())
    readings = Readings.of(app)
    assert readings.value(DB_OPERATION_DURATION, "_count") == 3
    assert pools(app) == ["shop.db", "shop.db-2"]
    for name in pools(app):
        assert readings.value(DB_CONNECTION_WAIT, "_count", **{POOL: name}) == 1


def test_names(tmp_path: Path) -> None:
    app = FastAPI()
    kit = instrument(app, logs=False)
    urls = ["postgresql+psycopg://u:p@one/shop", "postgresql+psycopg://u:p@two:6432/shop"]
    engines = [create_engine(url) for url in urls]
    engines.append(create_engine(urls[0], pool_logging_name="writer"))
    engines.append(create_engine(urls[0], logging_name="reader"))
    engines.append(create_engine(urls[0]))
    engines.append(create_engine(urls[0]))
    for engine in engines:
        kit.watch(engine)
    kit.watch(engines[-1], name="reporting")
    kit.watch(engines[-1])
    assert pools(app) == [
        "shop",
        "two:6432/shop",
        "writer",
        "reader",
        "one/shop",
        "shop-2",
        "reporting",
    ]
    assert not any("u" in name.split("/")[0].split(":") for name in pools(app)), "no user"
    readings = Readings.of(app)
    assert readings.value(DB_CONNECTION_MAX, **{POOL: "shop-2"}) == 0, "renamed"
    assert readings.value(DB_CONNECTION_MAX, **{POOL: "reporting"}) == 15


def test_creator_and_other_pools(tmp_path: Path) -> None:
    database = tmp_path / "shop.db"
    with_creator = create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(database), poolclass=NullPool
    )
    creator: Any = lambda: sqlite3.connect(database, check_same_thread=False)  # noqa: E731
    pool = QueuePool(creator)
    shared = [create_engine("sqlite://", pool=pool) for _ in range(2)]
    app = FastAPI()
    instrument(app, engine={"creator": with_creator, "shared": shared[0]}, logs=False)
    app.state.vitals.watch(shared[1])
    send(with_creator, 3)
    for engine in shared:
        send(engine, 2)
    readings = Readings.of(app)
    assert readings.value(DB_OPERATION_DURATION, "_count") == 7
    assert readings.value(DB_CONNECTION_CREATE, "_count", **{POOL: "creator"}) == 3
    assert readings.value(DB_CONNECTION_WAIT, "_count", **{POOL: "creator"}) == 3
    assert readings.value(DB_CONNECTION_WAIT, "_count", **{POOL: "shared"}) == 4
    assert readings.value(DB_CONNECTION_COUNT, state="idle") == 1
    assert readings.value(DB_CONNECTION_MAX) == 15
    pool.dispose()


def test_a_pool_that_the_host_sets_is_measured(tmp_path: Path) -> None:
    engine, app = file_engine(tmp_path), FastAPI()
    instrument(app, engine=engine, logs=False)
    engine.pool.dispose()
    engine.pool = engine.pool.recreate()
    send(engine)
    assert Readings.of(app).value(DB_CONNECTION_WAIT, "_count") == 1
    engine.dispose()
    creator: Any = lambda: sqlite3.connect(tmp_path / "shop.db")  # noqa: E731
    engine.pool = QueuePool(creator, dialect=engine.dialect)
    assert Readings.of(app).value(DB_CONNECTION_MAX) == 15, "seen with the next refresh"
    send(engine)
    assert Readings.of(app).value(DB_CONNECTION_WAIT, "_count") == 2
    engine.dispose()


def test_listeners_and_events_of_the_host_are_left_alone(tmp_path: Path) -> None:
    engine, seen = file_engine(tmp_path), []
    event.listen(engine, "checkout", lambda *_: seen.append("checkout"))
    event.listen(engine, "checkin", lambda *_: seen.append("checkin"))
    instrument(FastAPI(), engine=engine, logs=False)
    assert "_has_events" not in vars(engine), "else SQLAlchemy looks for listeners each statement"
    send(engine)
    assert seen == ["checkout", "checkin"]
    engine.dispose()


# -- Gone ------------------------------------------------------------------------------------


def test_a_factory_of_engines_leaves_nothing_behind(tmp_path: Path) -> None:
    app = FastAPI()
    kit = instrument(app, logs=False)
    gone: list[weakref.ref[Engine]] = []
    for number in range(1_000):
        engine = file_engine(tmp_path)
        gone.append(weakref.ref(engine))
        kit.watch(engine)
        if number < 50:
            send(engine)
        engine.dispose()
    del engine
    gc.collect()
    assert not [ref for ref in gone if ref() is not None]
    readings = Readings.of(app)
    assert readings.value(DB_OPERATION_DURATION, "_count") == 50
    assert pools(app) == ["shop.db"], "the name of a disposed engine is given again"
    assert readings.value(DB_CONNECTION_MAX) == 0
    assert readings.value(DB_CONNECTION_WAIT, "_count") == 50
    assert not len(kit._database._queries._observers)


def test_names_of_engines_that_are_kept_are_bounded(tmp_path: Path) -> None:
    app = FastAPI()
    kit = instrument(app, logs=False)
    kept = [file_engine(tmp_path) for _ in range(100)]
    for engine in kept:
        kit.watch(engine)
    send(kept[-1], 3)
    names = pools(app)
    assert len(names) == 21
    assert names[:2] == ["shop.db", "shop.db-2"]
    readings = Readings.of(app)
    assert readings.value(DB_CONNECTION_MAX, **{POOL: "__other__"}) == 80 * 15
    assert readings.value(DB_CONNECTION_WAIT, "_count", **{POOL: "__other__"}) == 3
    assert readings.value(DROPPED) == 0
    for engine in kept:
        engine.dispose()


def test_a_factory_of_applications_leaves_nothing_on_the_engine(tmp_path: Path) -> None:
    engine = file_engine(tmp_path)
    gone: list[weakref.ref[FastAPI]] = []
    for _ in range(200):
        app = asking(lambda: engine)
        kit = instrument(app, engine=engine, logs=False, sqlcommenter=True)
        gone.append(weakref.ref(app))
        if len(gone) % 50 == 0:
            fetch(app, "GET", "/ask")
            assert statements(app) == 2
    del app, kit
    end = time.monotonic() + 30
    while [ref for ref in gone if ref() is not None]:  # the loops' watch notes that they are closed
        assert time.monotonic() < end
        time.sleep(0.05)
        gc.collect()
    send(engine)
    last = asking(lambda: engine)
    instrument(last, engine=engine, logs=False)
    send(engine)
    assert statements(last) == 1
    engine.dispose()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork_while_a_thread_waits(tmp_path: Path) -> None:
    code = f"""
import os, threading, time
from fastapi import FastAPI
from sqlalchemy import create_engine, text
from vitals import instrument
from vitals.metrics.catalogue import *
from vitals.testing import Readings

engine = create_engine("sqlite:///{tmp_path}/shop.db", pool_size=1, max_overflow=0)
app = FastAPI()
instrument(app, engine=engine, logs=False)
held = engine.connect()
held.execute(text("SELECT 1"))
waiter = threading.Thread(target=lambda: engine.connect().close())
waiter.start()
while not Readings.of(app).value(DB_CONNECTION_PENDING):
    time.sleep(0.01)
if os.fork() == 0:
    engine.dispose(close=False)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
else:
    os.wait()
    held.close()
    waiter.join()
readings = Readings.of(app)
figures = [
    readings.value(DB_OPERATION_DURATION, "_count"),
    readings.value(DB_CONNECTION_PENDING),
    readings.value(DB_CONNECTION_COUNT, state="used"),
    readings.value(DB_CONNECTION_WAIT, "_count"),
    readings.value(DB_CONNECTION_USE, "_count"),
]
print(*map(float, figures), flush=True)
os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    child, parent = done.stdout.splitlines()
    assert child == "1.0 0.0 0.0 1.0 1.0"
    assert parent == "1.0 0.0 0.0 2.0 2.0"


def test_threads_that_connect_at_once_are_all_counted(tmp_path: Path) -> None:
    app = FastAPI()
    instrument(app, engine="all", logs=False)
    engine = file_engine(tmp_path)
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        send(engine, 5)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.dispose()
    assert statements(app) == 40
    assert pools(app) == ["shop.db"]
