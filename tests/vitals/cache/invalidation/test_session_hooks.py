"""Session hooks: committed changes invalidate the cache, even if the process dies."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as Client
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from tests.servers import Redis
from tests.vitals.cache.databases import (
    AnyDatabase,
    ForeignDatabase,
    ServiceDatabase,
)
from vitals.cache import TIMEOUT_SECONDS, Cache, Change, InvalidationTarget, WriteIntent

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

DEADLINE_SECONDS = 20.0


class Shop:
    """A process that reads prices through the cache and writes them in sessions."""

    def __init__(
        self, database: AnyDatabase, redis_url: str, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        self.database, self.product = database, database.product
        self.cache = Cache(redis_url, timeout=timeout)
        self.prices = self.cache.namespace("price", schema=int, ttl=60)
        self.sums = self.cache.namespace("sum", schema=int, ttl=60)
        self.invalidator = database.invalidator(self.cache)
        self.invalidator.watch(self.product, self._invalidated_by)
        self.changes: list[Change] = []
        self.again: Callable[[], Shop]

    def _invalidated_by(self, change: Change) -> Iterator[InvalidationTarget]:
        self.changes.append(change)
        known = change.key is not None
        yield self.prices.entry(str(change.key)) if known else self.prices.everything
        if change.writes(frozenset({"price_cents"})):
            yield self.sums.everything

    async def price(self, product_id: int) -> int | None:
        async def load() -> int | None:
            async with self.database.reading() as session:
                statement = select(self.product.price_cents).where(self.product.id == product_id)
                found: int | None = await session.scalar(statement)
                return found

        return await self.prices.get(str(product_id), load)

    async def sum(self) -> int | None:
        async def load() -> int:
            async with self.database.reading() as session:
                return await session.scalar(select(func.sum(self.product.price_cents))) or 0

        return await self.sums.get("all", load)

    async def pending(self) -> int:
        async with self.database.reading() as session:
            return await session.scalar(select(func.count()).select_from(self.database.outbox)) or 0

    async def close(self) -> None:
        await self.invalidator.close()
        await self.cache.close()
        await self.database.close()


KINDS: dict[str, type[ForeignDatabase] | type[ServiceDatabase]] = {
    "foreign": ForeignDatabase,
    "service": ServiceDatabase,
}


@pytest.fixture(
    params=[
        "foreign: memory",
        "foreign: redis",
        "foreign: redis and postgresql",
        "service: redis",
        "service: redis and postgresql",
    ]
)
async def shop(
    request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str
) -> AsyncIterator[Shop]:
    kind, _, parts = request.param.partition(": ")
    redis: Redis | None = None
    if "redis" in parts:
        redis = request.getfixturevalue("redis_server")
    url = f"sqlite+aiosqlite:///{tmp_path}/shop.db"
    if "postgresql" in parts:
        url = request.getfixturevalue("postgres").database()
    opened = Shop(KINDS[kind](url), redis.url if redis else "")
    opened.again = lambda: Shop(KINDS[kind](url), redis.url if redis else "")
    await opened.database.create()
    async with opened.database.writing() as session:
        for number in (1, 2):
            session.add(
                opened.product(id=number, name="thing", category="all", price_cents=1, stock=1)
            )
    opened.changes.clear()
    assert [await opened.price(1), await opened.price(2), await opened.sum()] == [1, 1, 2]
    yield opened
    await opened.close()


shared = pytest.mark.parametrize(
    "shop",
    [f"{kind}: {parts}" for kind in KINDS for parts in ("redis", "redis and postgresql")],
    indirect=True,
)


@pytest.fixture
async def other(shop: Shop, redis_server: Redis) -> AsyncIterator[Shop]:
    """Another process on the same database and Redis."""
    opened = shop.again()
    yield opened
    redis_server.resume()
    await opened.close()


async def by_attribute(session: AsyncSession, product: Any) -> None:
    (await session.get_one(product, 1)).price_cents = 5


async def by_key(session: AsyncSession, product: Any) -> None:
    await session.execute(update(product), [{"id": 1, "price_cents": 5}])


async def by_condition(session: AsyncSession, product: Any) -> None:
    statement = update(product).where(product.stock > 0, product.id == 1).values(price_cents=5)
    await session.execute(statement)


async def by_delete(session: AsyncSession, product: Any) -> None:
    await session.delete(await session.get(product, 2))
    await by_attribute(session, product)


@pytest.mark.parametrize("write", [by_attribute, by_key, by_condition, by_delete])
async def test_every_kind_of_session_write_invalidates(shop: Shop, write: object) -> None:
    async with shop.database.writing() as session:
        await write(session, shop.product)  # type: ignore[operator]

    assert await shop.price(1) == 5
    expected = 5 if write is by_delete else 6
    assert await shop.sum() == expected
    assert await shop.price(2) == (None if write is by_delete else 1)


async def test_textual_sql_is_invalidated_explicitly(shop: Shop) -> None:
    async with shop.database.writing() as session:
        await session.execute(text("UPDATE products SET price_cents = 5"))
        shop.invalidator.invalidate_on_commit(session, shop.prices.everything, shop.sums.everything)

    assert [await shop.price(1), await shop.price(2), await shop.sum()] == [5, 5, 10]


async def test_change_has_only_the_changed_columns(shop: Shop) -> None:
    async with shop.database.writing() as session:
        product = await session.get_one(shop.product, 1)
        product.stock = 7
        product.name = "thing"  # as it was

    assert [change.columns for change in shop.changes] == [frozenset({"stock"})]


@pytest.mark.parametrize("end", ["rolled back", "kept"])
async def test_savepoint_invalidates_only_at_outer_commit(shop: Shop, end: str) -> None:
    async with shop.database.writing() as session:
        savepoint = await session.begin_nested()
        await by_attribute(session, shop.product)
        await session.flush()
        if end == "kept":
            await savepoint.commit()
        else:
            await savepoint.rollback()
            await session.execute(update(shop.product), [{"id": 2, "price_cents": 9}])
        if shop.cache.is_shared:  # SQLite has a single writer: no other read now
            assert await shop.price(1) == 1

    assert await shop.price(1) == (5 if end == "kept" else 1)
    assert await shop.price(2) == (1 if end == "kept" else 9)


async def test_rollback_discards_pending_targets(shop: Shop) -> None:
    async with shop.database.writing() as session:
        await by_attribute(session, shop.product)
        await session.flush()
        await session.rollback()
    async with shop.database.writing() as session:
        await session.execute(text("UPDATE products SET price_cents = 5"))

    assert (
        await shop.price(1) == 1
    )  # textual SQL raises no event, and the earlier targets are discarded


async def test_value_read_before_a_commit_is_not_stored(shop: Shop) -> None:
    intent = await shop.cache.intend(shop.prices.entry("1"), shop.sums.everything)
    assert [await shop.price(1), await shop.sum()] == [1, 2]
    async with shop.database.transaction() as connection:  # which raises no session event
        await connection.execute(text("UPDATE products SET price_cents = 5"))
    assert [await shop.price(1), await shop.sum()] == [5, 10]
    await shop.cache.release(intent)
    assert [await shop.price(1), await shop.sum()] == [5, 10]


@shared
async def test_crash_after_commit_leaves_no_stale_value(
    shop: Shop, other: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(_intent: WriteIntent) -> None:
        """Skip what follows the commit."""

    monkeypatch.setattr(shop.cache, "release", die)
    async with shop.database.writing() as session:
        await by_attribute(session, shop.product)

    assert [await other.price(1), await other.sum()] == [5, 6]
    await other.cache.invalidate(other.prices.entry("1"))
    assert await other.price(1) == 5


@shared
async def test_concurrent_write_intents_block_fills_until_all_end(shop: Shop, other: Shop) -> None:
    early = await shop.cache.intend(shop.sums.everything)
    late = await other.cache.intend(other.sums.everything)
    await other.cache.release(late)
    assert await other.sum() == 2  # and is not stored: the early writer has not committed
    async with shop.database.transaction() as connection:
        await connection.execute(text("UPDATE products SET price_cents = 5"))
    assert await other.sum() == 10
    await shop.cache.release(early)
    assert [await other.sum(), await shop.sum()] == [10, 10]


@shared
async def test_outbox_is_relayed_by_another_process(
    shop: Shop, other: Shop, redis_server: Redis
) -> None:
    await other.price(1)
    redis_server.pause()
    async with shop.database.writing() as session:
        await by_attribute(session, shop.product)
    assert await shop.pending() == 2
    # The process dies before Redis is available: its pending invalidations are lost.
    shop.cache._store.queue._pending.take()  # type: ignore[attr-defined]
    redis_server.resume()

    await other.invalidator.start()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await other.pending():
            await asyncio.sleep(0.05)
    assert [await other.price(1), await other.sum()] == [5, 6]


@shared
async def test_write_intent_expires(
    shop: Shop, redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitals.cache.redis.store.INTENT_MS", 100)
    await shop.cache.intend(shop.prices.entry("1"), shop.sums.everything)
    with Client.from_url(redis_server.url) as client:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while client.exists("v2:{price:1}:writers", "v2:{sum}:writers", "v2:{sum}"):
                await asyncio.sleep(0.02)
        await shop.price(1)
        assert client.exists("v2:{price:1}")
