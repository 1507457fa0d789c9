"""Simulated processes: each with its own cache and database engine, all in one event loop."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from sqlalchemy import select, text, update

from tests.vitals.cache.databases import AnyDatabase
from vitals.cache import Cache, InvalidationTarget, StoreUnavailableError, WriteIntent
from vitals.cache.core.store import TimeoutBudget
from vitals.cache.invalidation.pending_changes import Change
from vitals.cache.redis.store import RedisStore

CATEGORY = "desks"
"""Of every product: its tag must invalidate more than one value."""
TAG = f"category:{CATEGORY}"
L1_SECONDS = 60


class Cut:
    """A Redis client that can be cut off, for one process alone.

    Args:
        line: The client.
        changed: Called with False when it is cut off and with True when it is reconnected.
    """

    def __init__(self, line: Any, changed: Callable[[bool], None]) -> None:
        self._line = line
        self._changed = changed
        self.cut = False

    def set(self, *, cut: bool) -> None:
        """Cut it off or reconnect it; call it in the event loop."""
        if cut != self.cut:
            self.cut = cut
            self._changed(not cut)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line, name)

    async def send(self, *command: Any, budget: TimeoutBudget | None = None) -> Any:
        self._check()
        return await self._line.send(*command, budget=budget)

    async def send_all(self, *commands: Any, budget: TimeoutBudget | None = None) -> Any:
        self._check()
        return await self._line.send_all(*commands, budget=budget)

    async def read(self, names: tuple[str, ...]) -> Any:
        self._check()
        return await self._line.read(names)

    def _check(self) -> None:
        if self.cut:
            raise StoreUnavailableError("error")


class Clerk:
    """One process: reads prices through the cache, and changes them in sessions.

    Args:
        database: Whose products have prices.
        redis_url: The shared cache.
        has_l1: Whether it has an L1 cache.
        clock: Seconds; of the L1 cache.
    """

    def __init__(
        self, database: AnyDatabase, redis_url: str, *, has_l1: bool, clock: Callable[[], float]
    ) -> None:
        self.has_l1 = has_l1
        self.database, self.product = database, database.product
        self.cache = Cache(redis_url, timeout=10)
        store = self.cache._store
        assert isinstance(store, RedisStore)
        self.line = Cut(store.client, store._on_availability)
        store.client = self.line
        self.cache._l1._clock = clock
        self.prices = self.cache.namespace(
            "price", schema=int, ttl=60, l1_ttl=L1_SECONDS if has_l1 else 0
        )
        self.invalidator = database.invalidator(self.cache)
        self.invalidator.watch(self.product, self._invalidated_by)

    def _invalidated_by(self, change: Change) -> Iterator[InvalidationTarget]:
        yield self.prices.everything if change.key is None else self.prices.entry(str(change.key))

    async def price(self, number: int, gate: Callable[[], Awaitable[object]] | None = None) -> int:
        """Read; with a gate, a load waits there between the database and the cache."""

        async def load() -> int | None:
            async with self.database.reading() as session:
                found: int | None = await session.scalar(
                    select(self.product.price_cents).where(self.product.id == number)
                )
            if gate is not None:
                await gate()
            return found

        return await self.prices.get(str(number), load, (TAG,)) or 0

    # -- Ways to write -----------------------------------------------------------------------

    async def change(self, number: int, price: int) -> None:
        """By the ORM."""
        async with self.database.writing() as session:
            (await session.get_one(self.product, number)).price_cents = price

    async def change_mind(self, number: int, price: int) -> None:
        """Flush, and roll back."""
        async with self.database.writing() as session:
            (await session.get_one(self.product, number)).price_cents = price
            await session.flush()
            await session.rollback()

    async def change_around_savepoint(self, number: int, price: int) -> None:
        """Change one product, and another one in a savepoint that is rolled back."""
        async with self.database.writing() as session:
            (await session.get_one(self.product, number)).price_cents = price
            async with session.begin_nested() as inner:
                other = await session.get_one(self.product, 3 - number)
                other.price_cents = price + 1
                await session.flush()
                await inner.rollback()

    async def change_category(self, _number: int, price: int) -> None:
        """By one statement that names no row."""
        statement = update(self.product).where(self.product.category == CATEGORY)
        async with self.database.writing() as session:
            await session.execute(statement.values(price_cents=price))

    async def change_by_text(self, _number: int, price: int) -> None:
        """By textual SQL, which raises no event, with an explicit tag."""
        async with self.database.writing() as session:
            await session.execute(
                text("UPDATE products SET price_cents = :price WHERE category = :category"),
                {"price": price, "category": CATEGORY},
            )
            self.invalidator.invalidate_on_commit(session, self.cache.tag(TAG))

    async def die_after_commit(self, number: int, price: int) -> None:
        """Commit, and do nothing after it."""

        async def nothing(intent: WriteIntent) -> None:
            """Be dead."""

        self.cache.release = nothing  # type: ignore[method-assign]
        await self.change(number, price)

    async def die_before_commit(self, number: int, _price: int) -> None:
        """Announce a write, and never commit it."""
        await self.cache.intend(self.prices.entry(str(number)))

    async def start(self) -> None:
        """Subscribe to invalidations."""
        await self.cache.start()

    async def close(self) -> None:
        """Close everything."""
        self.line.set(cut=False)
        await self.invalidator.close()
        await self.cache.close()
        await self.database.close()
        await asyncio.sleep(0)
