"""Two other services with the same kit, and everything else different.

They have other names, routes, objectives and databases, and one error of each kind, so that no
panel of a board may be empty.
"""

import asyncio
import os
from contextlib import suppress

import httpx
from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import StreamingResponse
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from stack import readiness
from vitals import HttpClients, Objective, Validation, instrument
from vitals.cache.reporter import CacheReporter

_SLOW_ON_SQLITE = """
WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < 60000)
SELECT max(n) FROM counted
"""


def library() -> FastAPI:
    """Books, in SQLite; one route has its own objective."""
    engine = create_async_engine(os.environ["LIBRARY_DATABASE_URL"])
    objectives = [
        Objective("availability", ratio=0.999),
        Objective("latency", ratio=0.95, within=0.25),
        Objective("latency", ratio=0.95, within=0.05, route="/books"),
        Objective("queries", ratio=0.95, within=0.005),
    ]
    return _service("library", "/books", engine, objectives, _SLOW_ON_SQLITE)


def clinic() -> FastAPI:
    """Patients, in PostgreSQL, with lower objectives."""
    engine = create_async_engine(os.environ["CLINIC_DATABASE_URL"], pool_size=3, max_overflow=0)
    objectives = [
        Objective("availability", ratio=0.9),
        Objective("latency", ratio=0.8, within=1),
        Objective("queries", ratio=0.9, within=0.01),
    ]
    return _service("clinic", "/patients", engine, objectives, "SELECT pg_sleep(0.02)")


def _service(
    name: str, path: str, engine: AsyncEngine, objectives: list[Objective], slow: str
) -> FastAPI:
    app = FastAPI(title=name)
    vitals = instrument(
        app,
        engine=engine,
        service_name=name,
        objectives=objectives,
        validation=Validation(limit=100),
        probes=[HttpClients()],
    )
    cache = CacheReporter(vitals.meter, f"{name}-cache")
    cache.breaker(open_=False)
    cache.bus_connected(connected=True)
    cache.l1_bytes(1000)

    @app.get(path)
    async def everything() -> list[int]:
        with cache.operation("get"):
            cache.request("l2", "hit")
        await _execute(engine, "SELECT 1")
        return [1, 2, 3]

    @app.get(path + "-feed")
    async def feed() -> StreamingResponse:
        return StreamingResponse(iter(("data: 1\n\n",)), media_type="text/event-stream")

    @app.get(path + "/{number}")
    async def one(number: int, later: BackgroundTasks, error: str = "") -> int:
        cache.request("l2", "miss")
        with cache.load():
            await _execute(engine, slow)
        if error == "dropped":
            with suppress(TimeoutError), cache.operation("get"):
                cache.request("l2", "error")
                raise TimeoutError
            await _call_nobody()
            later.add_task(_fail_later, engine)
            vitals.meter.dropped("labels")
        await _cause_error(engine, error)
        return number

    @app.get(path + "-queue")
    async def queue() -> None:
        if engine.dialect.name == "postgresql":
            await asyncio.gather(_hold_lock(engine), _hold_lock(engine))

    @app.post(path)
    async def add(body: dict[str, int]) -> dict[str, int]:
        cache.invalidation("ok")
        cache.fill_rejected()
        return body

    return app


async def _hold_lock(engine: AsyncEngine) -> None:
    """Create a table and undo it later: samples see another transaction wait for the name."""
    async with engine.connect() as connection:
        await connection.execute(text("CREATE TABLE queue ()"))
        await connection.execute(text("SELECT pg_sleep(2)"))


async def _fail_later(engine: AsyncEngine) -> None:
    await _execute(engine, "SELECT 1")
    await asyncio.sleep(2.5)  # longer than it takes until the next scrape, which must see it
    raise RuntimeError("no such thing")


async def _call_nobody() -> None:
    async with httpx.AsyncClient() as client:
        with suppress(httpx.ConnectError):
            await client.get(f"http://{readiness.LOOPBACK}:9/")  # the discard service


async def _cause_error(engine: AsyncEngine, kind: str) -> None:
    if kind == "each":
        for row in range(10):
            await _execute(engine, "SELECT :row + 0", row=row)
    elif kind == "lost":
        with suppress(DBAPIError):
            await _execute(engine, "SELECT nothing FROM nowhere")
    elif kind == "broken":
        raise RuntimeError("no such thing")


async def _execute(engine: AsyncEngine, statement: str, **values: int) -> None:
    async with engine.connect() as connection:
        await connection.execute(text(statement), values)
