"""Sessions of every kind invalidate: synchronous, of factories, of an engine, outside of a loop."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Engine,
    ForeignKey,
    create_engine,
    delete,
    event,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Mapped, Session, mapped_column, scoped_session, sessionmaker

from tests.servers import Redis
from tests.vitals.cache.databases import Base as Products
from tests.vitals.cache.databases import ForeignDatabase, Product
from vitals.cache import Cache, CacheInvalidator, Change, InvalidationTarget
from vitals.cache.invalidation.outbox import NAME

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

DEADLINE_SECONDS = 20.0
OUTBOX = ForeignDatabase.outbox


class Durable(Product):
    """A product of a class that inherits from another table's."""

    __tablename__ = "durables"

    id: Mapped[int] = mapped_column(ForeignKey("products.id"), primary_key=True)
    months: Mapped[int]


def row(number: int, **values: Any) -> dict[str, Any]:
    return {"id": number, "name": "desk", "category": "a", "price_cents": 1, "stock": 1} | values


class Shop:
    """Reads prices through the cache; one database, written by synchronous sessions."""

    def __init__(self, engine: Engine, cache: Cache, sessions: Any = None, **options: Any) -> None:
        self.engine, self.cache = engine, cache
        self.prices = cache.namespace("price", schema=int, ttl=60)
        self.sums = cache.namespace("sum", schema=int, ttl=60)
        self.invalidator = CacheInvalidator(
            cache, engine if sessions is None else sessions, **options
        ).watch(
            Product,
            keys=self.prices,
            everything=[self.sums, cache.tag("all")],
            columns={"price_cents"},
        )

    async def price(self, number: int) -> int | None:
        def read() -> int | None:
            with Session(self.engine) as session:
                found: int | None = session.scalar(
                    select(Product.price_cents).where(Product.id == number)
                )
                return found

        return await self.prices.get(str(number), lambda: asyncio.to_thread(read))

    async def sum(self) -> int | None:
        def read() -> int:
            with Session(self.engine) as session:
                return session.scalar(select(func.sum(Product.price_cents))) or 0

        return await self.sums.get("all", lambda: asyncio.to_thread(read))

    def pending(self) -> int:
        with self.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(OUTBOX)) or 0

    async def read(self) -> list[int | None]:
        return [await self.price(1), await self.price(2), await self.sum()]


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    url = f"sqlite:///{tmp_path}/shop.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").database().replace("+asyncpg", "+psycopg")
    made = create_engine(url)
    Products.metadata.create_all(made)
    with made.begin() as connection:
        connection.execute(insert(Product), [row(1), row(2)])
    yield made
    made.dispose()


@pytest.fixture(params=["memory", "redis"])
async def cache(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[Cache]:
    url = request.getfixturevalue("redis_server").url if request.param == "redis" else ""
    async with Cache(url, timeout=10) as opened:
        yield opened


sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
redis = pytest.mark.parametrize("cache", ["redis"], indirect=True)


# -- Kinds of sessions -----------------------------------------------------------------------


def by_session(engine: Engine, _factory: Any) -> AbstractContextManager[Session]:
    return Session(engine)


def by_factory(_engine: Engine, factory: sessionmaker[Session]) -> AbstractContextManager[Session]:
    return factory()


def by_registry(_engine: Engine, factory: Any) -> AbstractContextManager[Session]:
    found: AbstractContextManager[Session] = scoped_session(factory)()
    return found


def by_options(engine: Engine, _factory: Any) -> AbstractContextManager[Session]:
    return Session(engine.execution_options(stream_results=False))


@contextmanager
def by_connection(engine: Engine, _factory: Any) -> Iterator[Session]:
    with engine.connect() as connection, Session(connection) as session:
        yield session
        connection.commit()


@pytest.mark.parametrize(
    ("open_", "observes_engine"),
    [
        (by_session, True),
        (by_factory, True),
        (by_options, True),
        (by_connection, True),
        (by_factory, False),
        (by_registry, False),
    ],
)
async def test_sessions_in_threads_invalidate(
    engine: Engine, cache: Cache, open_: Any, *, observes_engine: bool
) -> None:
    factory = sessionmaker(engine)
    shop = Shop(engine, cache, None if observes_engine else factory)

    def write(price: int) -> None:
        with open_(engine, factory) as session:
            session.get_one(Product, 1).price_cents = price
            session.commit()

    async with shop.invalidator:
        for price in (5, 6, 7):
            await shop.read()
            await asyncio.to_thread(write, price)
            assert await shop.read() == [price, 1, price + 1]


@sqlite
async def test_a_synchronous_session_on_the_event_loop_invalidates(
    engine: Engine, cache: Cache
) -> None:
    shop = Shop(engine, cache, outbox=OUTBOX)
    async with shop.invalidator:
        for price in (5, 6, 7):
            await shop.read()
            with Session(engine) as session:
                session.get_one(Product, 1).price_cents = price
                session.commit()
            assert await shop.read() == [price, 1, price + 1]
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await shop.prices.peek("1") is None or shop.pending():  # it is cached again
                await shop.price(1)
                await asyncio.sleep(0.01)


@redis
async def test_a_process_without_a_loop_invalidates_by_the_outbox(
    engine: Engine, cache: Cache, redis_server: Redis
) -> None:
    shop = Shop(engine, cache, outbox=OUTBOX)
    assert await shop.read() == [1, 1, 2]

    def work() -> None:
        """As a worker of Celery does: its cache is never started."""
        jobs = sessionmaker(create_engine(engine.url))
        other = Shop(engine, Cache(redis_server.url), jobs, outbox=OUTBOX)
        with jobs.begin() as session:
            session.get_one(Product, 1).price_cents = 9
        assert other.pending() == 3  # the price, the sum and the tag
        jobs.kw["bind"].dispose()

    thread = threading.Thread(target=work)
    thread.start()
    await asyncio.to_thread(thread.join)
    async with shop.invalidator, asyncio.timeout(DEADLINE_SECONDS):
        while shop.pending():
            await asyncio.sleep(0.01)
    assert await shop.read() == [9, 1, 10]


@pytest.mark.parametrize("kind", ["engine", "factory", "scoped"])
async def test_asynchronous_sessions_of_every_factory(
    tmp_path: Path, anyio_backend: str, kind: str
) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db")
    async with engine.begin() as connection:
        await connection.run_sync(Products.metadata.create_all)
        await connection.execute(insert(Product), [row(1)])
    factory = async_sessionmaker(engine)
    observed: dict[str, Any] = {
        "engine": engine,
        "factory": factory,
        "scoped": async_scoped_session(factory, asyncio.current_task),
    }
    async with Cache() as cache:
        prices = cache.namespace("price", schema=int, ttl=60)

        async def load() -> int | None:
            async with AsyncSession(engine) as session:
                found: int | None = await session.scalar(select(Product.price_cents))
                return found

        async with CacheInvalidator(cache, observed[kind]).watch(Product, keys=prices):
            for price, opened in enumerate([factory(), observed["scoped"]()], 5):
                await prices.get("1", load)
                async with opened as session:
                    (await session.get_one(Product, 1)).price_cents = price
                    await session.commit()
                assert await prices.get("1", load) == price
            async with AsyncSession(engine) as session:
                (await session.get_one(Product, 1)).price_cents = 7
                await session.commit()
            assert await prices.get("1", load) == (7 if kind == "engine" else 6)
    await engine.dispose()


@redis
@sqlite
async def test_other_databases_are_left_alone(
    engine: Engine, cache: Cache, redis_server: Redis, tmp_path: Path
) -> None:
    shop, other = (
        Shop(engine, cache, outbox=OUTBOX),
        create_engine(f"sqlite:///{tmp_path}/other.db"),
    )
    Product.__table__.create(other)  # type: ignore[attr-defined]  # and no outbox
    statements: list[str] = []
    event.listen(other, "before_cursor_execute", lambda *seen: statements.append(seen[2]))

    def write() -> None:
        with Session(other) as session:
            session.add(Product(**row(1, price_cents=50)))
            session.commit()

    async with shop.invalidator:
        assert await shop.price(1) == 1
        redis_server.pause()
        await asyncio.to_thread(write)
        assert not [each for each in statements if NAME in each]
        redis_server.resume()
    other.dispose()


# -- Kinds of writes -------------------------------------------------------------------------


def core_update(session: Session) -> None:
    session.execute(update(Product.__table__).values(price_cents=5).where(Product.id == 1))  # type: ignore[arg-type]


def core_insert_and_delete(session: Session) -> None:
    session.execute(delete(Product).where(Product.id == 1))
    session.execute(insert(Product), [row(1, price_cents=5)])


def by_attribute(session: Session) -> None:
    session.get_one(Product, 1).price_cents = 5


def of_its_class(session: Session) -> None:
    session.get_one(Durable, 1).price_cents = 5


def other_primary_key(session: Session) -> None:
    session.get_one(Product, 2).id = 3


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (core_update, [5, 1, 6]),
        (core_insert_and_delete, [5, 1, 6]),
        (by_attribute, [5, 1, 6]),
        (of_its_class, [5, 1, 6]),
        (other_primary_key, [1, None, 2]),
    ],
)
async def test_kinds_of_writes(
    engine: Engine, cache: Cache, write: Callable[[Session], None], expected: list[int | None]
) -> None:
    with engine.begin() as connection:
        if write is of_its_class:
            connection.execute(insert(Durable.__table__), {"id": 1, "months": 3})  # type: ignore[arg-type]
    shop = Shop(engine, cache)

    def commit() -> None:
        with Session(engine) as session:
            write(session)
            session.commit()

    async with shop.invalidator:
        assert await shop.read() == [1, 1, 2]
        await asyncio.to_thread(commit)
        assert await shop.read() == expected


@sqlite
async def test_only_given_columns_drop_what_is_given_whole(engine: Engine, cache: Cache) -> None:
    shop = Shop(engine, cache)

    async def commit(**values: Any) -> None:
        def work() -> None:
            with Session(engine) as session:
                for name, value in values.items():
                    setattr(session.get_one(Product, 1), name, value)
                session.commit()

        await asyncio.to_thread(work)

    async with shop.invalidator:
        await shop.read()
        await commit(stock=5)
        assert await shop.prices.peek("1") is None
        assert await shop.prices.peek("2") is not None
        assert await shop.sums.peek("all") is not None
        await commit(price_cents=5)
        assert await shop.sums.peek("all") is None


@sqlite
async def test_values_before_and_after_name_both_tags(engine: Engine, anyio_backend: str) -> None:
    cache, seen = Cache(), []
    invalidator = CacheInvalidator(cache, engine)

    def by_category(change: Change) -> Iterator[InvalidationTarget]:
        seen.append(change.values("category"))
        yield cache.tag("x")

    invalidator.watch(Product, by_category)

    def write(change: Callable[[Session], object]) -> object:
        with Session(engine) as session:
            change(session)
            session.commit()
        return seen.pop()

    def move(session: Session) -> None:
        product = session.get_one(Product, 1)
        assert product.category == "a"
        product.category = "b"

    def move_unseen(session: Session) -> None:
        product = session.get_one(Product, 1)
        session.expire(product)
        product.category = "c"

    async with cache, invalidator:
        assert await asyncio.to_thread(write, move) == ("b", "a")
        assert await asyncio.to_thread(write, move_unseen) is None
        assert await asyncio.to_thread(write, lambda s: s.add(Product(**row(5)))) == ("a",)
        assert await asyncio.to_thread(write, lambda s: s.delete(s.get_one(Product, 5))) == ("a",)
        assert await asyncio.to_thread(write, core_update) is None


@redis
@sqlite
@pytest.mark.parametrize("by_tags", [False, True])
async def test_a_transaction_of_many_rows_drops_namespaces(
    engine: Engine, cache: Cache, monkeypatch: pytest.MonkeyPatch, *, by_tags: bool
) -> None:
    shop, announced = Shop(engine, cache), []
    intend = cache.intend

    def tags(change: Change) -> Iterator[InvalidationTarget]:
        yield cache.tag(f"product:{change.key}")

    async def seen(*targets: InvalidationTarget, token: bytes = b"") -> Any:
        announced.append(len(targets))
        return await intend(*targets, token=token)

    monkeypatch.setattr(cache, "intend", seen)
    if by_tags:
        shop.invalidator.watch(Product, tags)

    def write() -> None:
        with Session(engine) as session:
            session.add_all(Product(**row(number)) for number in range(10, 2_500))
            session.get_one(Product, 1).price_cents = 5
            session.commit()

    async with shop.invalidator:
        await shop.read()
        await asyncio.to_thread(write)
        assert announced[0] <= 1000
        assert await shop.read() == [5, 1, 2_496]


# -- Hosts as they are -----------------------------------------------------------------------


@redis
async def test_a_commit_succeeds_without_the_outbox_table(
    engine: Engine, cache: Cache, redis_server: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    OUTBOX.drop(engine)
    cache.shared.timeout = 0.2  # type: ignore[union-attr]
    shop = Shop(engine, Cache(redis_server.url))

    def write() -> None:
        with Session(engine) as session:
            session.get_one(Product, 1).price_cents = 5
            session.commit()

    async with shop.cache, shop.invalidator:
        await shop.read()
        redis_server.pause()
        await asyncio.to_thread(write)
        assert await shop.read() == [5, 1, 6]
        redis_server.resume()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not await shop.cache.ping():
                await asyncio.sleep(0.02)
        assert await shop.read() == [5, 1, 6]
    assert caplog.text.count(f"no table {NAME}") == 1


async def test_outbox_is_used_from_when_its_migration_has_run(
    engine: Engine, redis_server: Redis, anyio_backend: str
) -> None:
    OUTBOX.drop(engine)
    shop = Shop(engine, Cache(redis_server.url), outbox=OUTBOX)

    def write(price: int) -> None:
        with Session(engine) as session:
            session.get_one(Product, 1).price_cents = price
            session.commit()

    async with shop.cache, shop.invalidator:
        redis_server.pause()
        await asyncio.to_thread(write, 5)
        OUTBOX.create(engine)
        await asyncio.to_thread(write, 6)
        assert shop.pending() == 3
        redis_server.resume()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while shop.pending():
                await asyncio.sleep(0.02)
        assert await shop.read() == [6, 1, 7]


@sqlite
async def test_sessions_of_an_engine_do_not_keep_caches_alive(
    engine: Engine, anyio_backend: str
) -> None:
    made = [weakref.ref(Shop(engine, Cache())) for _ in range(20)]
    gc.collect()
    assert [each() for each in made] == [None] * 20
    with Session(engine) as session:  # the hooks of those that are gone do nothing
        session.get_one(Product, 1).price_cents = 5
        session.commit()


def test_sessions_that_name_no_engine_are_refused() -> None:
    for sessions in (sessionmaker(), async_sessionmaker(), Session):
        with pytest.raises(ValueError, match="engine="):
            CacheInvalidator(Cache(), sessions)
