"""Slow query events: fields, no values, throttling."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from tests.vitals.client import fetch
from tests.vitals.journal import kit_events
from vitals import Objective, instrument
from vitals.db.statements.log_throttle import LogThrottle
from vitals.metrics.catalogue import DB_SLOW_QUERIES, DROPPED
from vitals.testing import Readings

SLOW = [Objective("queries", ratio=0.9, within=0.02)]
TRACE = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}


def sleep(seconds: float, _value: str) -> int:
    time.sleep(seconds)
    return 1


def request_and_log(path: str, *, times: int = 1) -> tuple[Readings, list[Any]]:
    """Metrics and log events of requests to a service whose database has sleep()."""
    app = FastAPI()
    engine = create_async_engine("sqlite+aiosqlite://")
    sync = create_engine("sqlite://")

    @event.listens_for(engine.sync_engine, "connect")
    @event.listens_for(sync, "connect")
    def add_sleep(connection: Any, _record: object) -> None:
        connection.create_function("sleep", 2, sleep)

    @app.get("/async/{seconds}/{secret}")
    async def in_the_loop(seconds: float, secret: str) -> None:
        async with engine.connect() as connection:
            values = {"s": seconds, "x": secret}
            await connection.execute(text("SELECT sleep(:s, :x), 'planted-too'"), values)

    @app.get("/sync/{seconds}/{secret}")
    def in_a_thread(seconds: float, secret: str) -> None:
        with sync.connect() as connection:
            connection.execute(text("SELECT sleep(:s, :x)"), {"s": seconds, "x": secret})

    @app.get("/fails/{seconds}/{secret}")
    async def fails(seconds: float, secret: str) -> None:
        async with engine.connect() as connection:
            sql = text("SELECT sleep(:s, :x), abs(-9223372036854775807 - 1)")
            await connection.execute(sql, {"s": seconds, "x": secret})

    instrument(app, engine=[engine, sync], objectives=SLOW)
    with kit_events() as lines:
        for _ in range(times):
            fetch(app, "GET", path, headers=HEADERS)
    asyncio.run(engine.dispose())
    sync.dispose()
    return Readings.of(app), [line for line in lines if "query" in line["event"]]


def test_slow_query_event_with_call_site() -> None:
    readings, lines = request_and_log("/async/0.03/planted")
    (line,) = lines
    assert readings.value(DB_SLOW_QUERIES) == 1
    assert line["levelname"] == "WARNING"
    assert line["db.query.text"] == "SELECT sleep(?), ?"
    assert line["http.route"] == "/async/{seconds}/{secret}"
    assert line["trace_id"] == TRACE
    assert line["code.source"].startswith("tests/vitals/db/statements/test_query_log.py:")
    assert line["code.source"].endswith("in_the_loop")
    assert line["duration"] >= 0.03
    assert line["threshold"] == 0.02
    assert "planted" not in str(line)


def test_fast_statement_is_not_logged() -> None:
    assert request_and_log("/async/0/planted")[1] == []


def test_call_site_in_a_thread() -> None:
    (line,) = request_and_log("/sync/0.03/planted")[1]
    assert line["code.source"].endswith("in_a_thread")
    assert line["http.route"] == "/sync/{seconds}/{secret}"


def test_slow_query_event_includes_pool_wait(tmp_path: Path) -> None:
    app = FastAPI()
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{tmp_path}/x.db",
        poolclass=AsyncAdaptedQueuePool,  # SQLite's default before SQLAlchemy 2.0.38: NullPool
        pool_size=1,
        max_overflow=0,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def add_sleep(connection: Any, _record: object) -> None:
        connection.create_function("sleep", 2, sleep)

    @app.get("/slow")
    async def slow() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT sleep(0.1, 'x')"))

    async def run() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            await asyncio.gather(client.get("/slow"), client.get("/slow"))
        await engine.dispose()

    instrument(app, engine=engine, objectives=SLOW)
    with kit_events() as lines, pytest.MonkeyPatch.context() as patched:
        patched.setattr(LogThrottle, "allows", lambda *_: 0)
        asyncio.run(run())
    at_once, later = sorted(line["pool_wait"] for line in lines if line["event"] == "slow query")
    assert later >= 0.1
    assert later - at_once >= 0.09


def test_slow_failed_statement_logs_error_type_without_values() -> None:
    (line,) = request_and_log("/fails/0.03/planted")[1]
    assert line["error.type"] in {OperationalError.__name__, "IntegrityError"}
    assert "planted" not in str(line)


def test_slow_query_event_is_throttled() -> None:
    readings, lines = request_and_log("/async/0.03/planted", times=4)
    assert len(lines) == 1
    assert readings.value(DB_SLOW_QUERIES) == 4
    assert readings.value(DROPPED, reason="query_probe") == 0


def test_throttle_allows_one_per_interval_and_counts_suppressed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1_000.0
    monkeypatch.setattr("vitals.db.statements.log_throttle.monotonic", lambda: now)
    throttle = LogThrottle(10.0, 3)
    assert [throttle.allows("a") for _ in range(3)] == [0, None, None]
    now += 10
    assert throttle.allows("a") == 2
    assert [throttle.allows(key) for key in "bcd"] == [0, None, None], "three a minute"
    now += 60
    assert throttle.allows("c") == 1


def test_throttle_is_bounded() -> None:
    throttle = LogThrottle(10.0, 10)
    for number in range(5_000):
        throttle.allows(str(number))
    assert len(throttle._last_logged) <= 1_000
