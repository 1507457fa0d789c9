"""Lock waits are seen by whoever reads the ranked list, without their values."""

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
from vitals.db.insight.lock_sampler import PAIRS, LockWaits
from vitals.db.insight.locks import Wait
from vitals.metrics.catalogue import DROPPED
from vitals.testing import Readings


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain_worker, "EVERY", 0.01)
    monkeypatch.setattr(lock_sampler, "EVERY", 0.01)


class Watched:
    """An application whose administrator is everybody."""

    def __init__(self, url: str) -> None:
        self.engine = create_async_engine(url)
        self.app = FastAPI()
        instrument(self.app, engine=self.engine, logs=False, admin=lambda _: True)

    async def page(self, accept: str = "application/json") -> Any:
        transport = ASGITransport(self.app)
        async with AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/vitals/bottlenecks", headers={"accept": accept})


async def quarrel(engine: AsyncEngine, seen: Any) -> None:
    """Have one session wait for another until ``seen`` returns."""

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
def test_who_reads_the_list_sees_who_waited(postgres: servers.Postgres) -> None:
    watched = Watched(postgres.database())
    pages: dict[str, Any] = {}

    async def seen() -> None:
        while not (found := (await watched.page()).json())["locks"]["waits"]:
            await asyncio.sleep(0.01)
        pages["json"] = found
        pages["html"] = (await watched.page("text/html")).text

    async def run() -> None:
        async with watched.app.router.lifespan_context(watched.app), asyncio.timeout(30):
            await quarrel(watched.engine, seen)
        await watched.engine.dispose()

    asyncio.run(run())
    (wait,) = pages["json"]["locks"]["waits"]
    assert wait["waiting"] == wait["blocking"] == "UPDATE t SET x = ?"
    assert wait["state"] == "idle in transaction"
    assert wait["seen"] >= 1
    assert "idle in transaction" in pages["html"]
    assert "planted" not in str(pages)


@pytest.mark.servers
def test_who_reads_nothing_pays_nothing(
    postgres: servers.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(postgres.database())
    looked: list[Connection] = []

    def look(connection: Connection) -> list[Wait]:
        looked.append(connection)
        return []

    monkeypatch.setattr(LockWaits, "look", staticmethod(look))

    async def run() -> None:
        async with watched.app.router.lifespan_context(watched.app), asyncio.timeout(30):
            await asyncio.sleep(0.3)
            assert not looked
            await watched.page()
            while len(looked) < 2:
                await asyncio.sleep(0.01)
            monkeypatch.setattr(lock_sampler, "WANTED", 0.0)
            await watched.page()
            many = len(looked)
            await asyncio.sleep(0.3)
            assert len(looked) <= many + 1
        await watched.engine.dispose()

    asyncio.run(run())


@pytest.mark.servers
def test_a_sample_that_fails_is_counted_and_troubles_nobody(
    postgres: servers.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(postgres.database())
    monkeypatch.setattr(LockWaits, "look", staticmethod(lambda _connection: 1 / 0))

    async def run() -> None:
        async with watched.app.router.lifespan_context(watched.app), asyncio.timeout(30):
            assert (await watched.page()).status_code == 200
            while not Readings.of(watched.app).value(DROPPED, reason="lock_sample"):
                await asyncio.sleep(0.01)
        await watched.engine.dispose()

    asyncio.run(run())


def test_sightings_of_a_pair_are_one_and_pairs_are_bounded() -> None:
    seen = LockWaits()
    for number in range(2 * PAIRS):
        wait = Wait(1, 2, float(number), 9.0, f"waiting {number}", "blocking", "active", "shop")
        seen.add([wait, wait])
    assert seen.samples == 2 * PAIRS
    kept = list(seen)
    assert len(kept) == PAIRS
    assert kept[0].longest == 2 * PAIRS - 1
    assert {pair.seen for pair in kept} == {2}


def test_a_database_that_does_not_tell_is_not_asked() -> None:
    seen = LockWaits()
    engine = create_async_engine("sqlite+aiosqlite://")
    seen.watch(engine)
    seen.want()
    assert seen.due() == []
