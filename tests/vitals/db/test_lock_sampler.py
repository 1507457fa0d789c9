"""Lock sampler: the bottlenecks page shows lock waits, without values."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from tests import servers
from vitals import instrument
from vitals.db.insight import explain_worker, lock_sampler
from vitals.db.insight.lock_sampler import MAX_PAIRS, LockSampler
from vitals.db.insight.locks import LockWait
from vitals.metrics.catalogue import DROPPED
from vitals.testing import Readings


@pytest.fixture(autouse=True)
def _short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain_worker, "POLL_INTERVAL", 0.01)
    monkeypatch.setattr(lock_sampler, "INTERVAL", 0.01)


class InstrumentedApp:
    """An application that treats everyone as administrator."""

    def __init__(self, url: str) -> None:
        self.engine = create_async_engine(url)
        self.api = FastAPI()
        instrument(self.api, engine=self.engine, logs=False, admin=lambda _: True)

    async def page(self, accept: str = "application/json") -> Any:
        transport = ASGITransport(self.api)
        async with AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/vitals/bottlenecks", headers={"accept": accept})


async def lock_conflict(engine: AsyncEngine, seen: Any) -> None:
    """Make one session wait for another until ``seen`` returns."""

    async def lock(connection: AsyncConnection, value: str) -> None:
        await connection.execute(text(f"UPDATE t SET x = '{value}'"))  # noqa: S608

    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE t AS SELECT 'planted' AS x"))
    async with engine.connect() as first, engine.connect() as second:
        await lock(first, "planted")
        waiting = asyncio.create_task(lock(second, "planted too"))
        try:
            await seen()
        finally:
            await first.rollback()
            await waiting


@pytest.mark.servers
def test_page_shows_sampled_lock_waits(postgres: servers.Postgres) -> None:
    app = InstrumentedApp(postgres.database())
    pages: dict[str, Any] = {}

    async def seen() -> None:
        while not (found := (await app.page()).json())["locks"]["waits"]:
            await asyncio.sleep(0.01)
        pages["json"] = found
        pages["html"] = (await app.page("text/html")).text

    async def run() -> None:
        async with app.api.router.lifespan_context(app.api), asyncio.timeout(30):
            await lock_conflict(app.engine, seen)
        await app.engine.dispose()

    asyncio.run(run())
    (wait,) = pages["json"]["locks"]["waits"]
    assert wait["waiting"] == wait["blocking"] == "UPDATE t SET x = ?"
    assert wait["state"] == "idle in transaction"
    assert wait["count"] >= 1
    assert "idle in transaction" in pages["html"]
    assert "planted" not in str(pages)


@pytest.mark.servers
def test_sampling_only_after_a_read_of_the_page(
    postgres: servers.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = InstrumentedApp(postgres.database())
    sampled: list[Connection] = []

    def sample(connection: Connection) -> list[LockWait]:
        sampled.append(connection)
        return []

    monkeypatch.setattr(LockSampler, "sample", staticmethod(sample))

    async def run() -> None:
        async with app.api.router.lifespan_context(app.api), asyncio.timeout(30):
            await asyncio.sleep(0.3)
            assert not sampled
            await app.page()
            while len(sampled) < 2:
                await asyncio.sleep(0.01)
            monkeypatch.setattr(lock_sampler, "SAMPLING_PERIOD", 0.0)
            await app.page()
            before = len(sampled)
            await asyncio.sleep(0.3)
            assert len(sampled) <= before + 1
        await app.engine.dispose()

    asyncio.run(run())


@pytest.mark.servers
def test_failed_sample_is_counted(
    postgres: servers.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = InstrumentedApp(postgres.database())
    monkeypatch.setattr(LockSampler, "sample", staticmethod(lambda _connection: 1 / 0))

    async def run() -> None:
        async with app.api.router.lifespan_context(app.api), asyncio.timeout(30):
            assert (await app.page()).status_code == 200
            while not Readings.of(app.api).value(DROPPED, reason="lock_sample"):
                await asyncio.sleep(0.01)
        await app.engine.dispose()

    asyncio.run(run())


def test_samples_are_aggregated_and_bounded() -> None:
    sampler = LockSampler()
    for number in range(2 * MAX_PAIRS):
        wait = LockWait(1, 2, float(number), 9.0, f"waiting {number}", "blocking", "active", "shop")
        sampler.add([wait, wait])
    assert sampler.samples == 2 * MAX_PAIRS
    kept = list(sampler)
    assert len(kept) == MAX_PAIRS
    assert kept[0].longest == 2 * MAX_PAIRS - 1
    assert {pair.count for pair in kept} == {2}


def test_only_postgresql_is_sampled() -> None:
    sampler = LockSampler()
    engine = create_async_engine("sqlite+aiosqlite://")
    sampler.add_engine(engine)
    sampler.request_samples()
    assert sampler.due() == []
