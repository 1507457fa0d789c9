"""A process that is cut off from Redis alone: what it commits is not served as it was by others."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.util import await_only

from service.cache.cache import TIMEOUT_SECONDS
from service.cache_invalidation import outbox, peer_notify
from service.db import migrate
from service.products.tables import Product
from tests.proxy import Fault, Proxy
from tests.servers import Postgres, Redis
from tests.service.cache.caches import CALM
from tests.service.cache_invalidation.test_session_hooks import PATIENT, Shop

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

WRITES = 25
IN_PRODUCTION = outbox.MOST_LATE_SECONDS


class Street:
    """Shops on one database and one Redis; the first has its own way to Redis, which may fail."""

    def __init__(self, url: str, redis: Redis, proxy: Proxy, timeout: float) -> None:
        self.proxy = proxy
        self.cut_off = Shop(url, f"redis://127.0.0.1:{proxy.port}/0", timeout)
        self.others = [Shop(url, redis.url) for _ in range(2)]
        self.all = [self.cut_off, *self.others]

    async def open(self) -> None:
        await migrate.migrate(self.cut_off.database)
        async with self.cut_off.database.writing() as session:
            session.add(Product(id=1, name="thing", category="all", price_cents=0, stock=1))
        for shop in self.all:
            await shop.cache.start()
            await shop.coherence.start()
        async with asyncio.timeout(PATIENT):
            while not all(self.hears(shop) for shop in self.all):
                await asyncio.sleep(0.02)

    @staticmethod
    def hears(shop: Shop) -> bool:
        called = shop.coherence._relay._neighbours
        return called is None or called.is_listening

    async def change(self, price: int) -> float:
        """Change the price in the process that is cut off; returns the seconds it took."""
        began = time.monotonic()
        async with self.cut_off.database.writing() as session:
            (await session.get_one(Product, 1)).price_cents = price
        return time.monotonic() - began

    async def close(self) -> None:
        self.proxy.clear()
        for shop in self.all:
            await shop.close()


@asynccontextmanager
async def opened(
    url: str, redis: Redis, patience: float = TIMEOUT_SECONDS
) -> AsyncIterator[Street]:
    async with Proxy.before(redis.port) as proxy:
        street = Street(url, redis, proxy, patience)
        await street.open()
        yield street
        await street.close()


@pytest.fixture(autouse=True)
def _calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no trouble, where time is not what a test is about."""
    monkeypatch.setattr(outbox, "MOST_LATE_SECONDS", CALM)


@pytest.fixture
async def street(
    postgres: Postgres, redis_server: Redis, anyio_backend: str
) -> AsyncIterator[Street]:
    async with opened(postgres.database(), redis_server) as standing:
        yield standing


async def stale(street: Street) -> list[tuple[int, int]]:
    """What others read that was older than what had been committed, with that."""
    newest, over = 0, False
    found: list[tuple[int, int]] = []

    async def read(shop: Shop) -> None:
        while not over:
            least = newest
            got = [await shop.price(1) or 0, await shop.sum() or 0]
            found.extend((each, least) for each in got if each < least)
            await asyncio.sleep(0)

    readers = [asyncio.ensure_future(read(shop)) for shop in street.others]
    for price in range(1, WRITES + 1):
        await asyncio.sleep(0.02)  # so that values are stored again
        await street.change(price)
        newest = price
        for shop in street.others:
            got = await shop.price(1) or 0
            found += [(got, price)] * (got < price)
    over = True
    await asyncio.gather(*readers)
    return found


@pytest.mark.parametrize("fault", [Fault.DROP, Fault.HALF_OPEN])
async def test_nobody_serves_what_a_process_that_is_cut_off_has_changed(
    street: Street, fault: Fault
) -> None:
    street.proxy.inject(fault)
    assert await stale(street) == []


async def test_others_are_called_before_redis_has_been_waited_for_in_vain(
    postgres: Postgres, redis_server: Redis, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    monkeypatch.setattr(outbox, "MOST_LATE_SECONDS", 0.8)
    async with opened(postgres.database(), redis_server, patience=1.0) as street:
        for shop in street.others:
            await shop.price(1)
            shop.coherence._relay.relay = nothing  # type: ignore[method-assign]
        street.proxy.inject(Fault.HALF_OPEN)
        await street.change(6)
        assert [await shop.price(1) for shop in street.others] == [6, 6]


async def nothing(*, wait: bool = False) -> None:
    """Look into no table."""
    del wait


async def test_it_is_served_from_redis_again_at_once(street: Street) -> None:
    street.proxy.inject(Fault.DROP)
    await street.change(1)
    shop = street.others[0]
    async with asyncio.timeout(peer_notify.PING_SECONDS * 5):  # far less than an intent lasts
        while await shop.prices.peek("1") is None or await shop.owed():
            await shop.price(1)
            await asyncio.sleep(0.01)


async def test_what_nobody_could_tell_is_told_before_redis_is_trusted(
    street: Street, redis_server: Redis
) -> None:
    for shop in street.all:
        await shop.price(1)
    redis_server.pause()
    for shop in street.all:
        await shop.price(1)  # and all have noticed
    took = await street.change(7)
    redis_server.resume()
    assert [await shop.price(1) for shop in street.all] == [7, 7, 7]
    assert took < peer_notify.PING_SECONDS  # each has said that it cannot


async def test_redis_comes_back_between_the_call_and_the_commit(
    street: Street, redis_server: Redis
) -> None:
    async def meanwhile() -> None:
        redis_server.resume()
        for shop in street.others:
            async with asyncio.timeout(PATIENT):
                while not await shop.cache.ping():
                    await asyncio.sleep(0.01)
            assert await shop.price(1) == 0
            await shop.coherence.close()  # what is committed next, it does not hear of

    for shop in street.all:
        await shop.price(1)
    redis_server.pause()
    for shop in street.all:
        await shop.price(1)
    sessions = street.cut_off.database.session_class
    event.listen(sessions, "before_commit", lambda _session: await_only(meanwhile()))
    await street.change(1)
    assert [await shop.price(1) for shop in street.others] == [1, 1]


async def test_a_process_that_says_nothing_is_waited_for_once(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST_LATE_SECONDS", IN_PRODUCTION)
    asked = street.cut_off.coherence._relay._neighbours
    assert asked is not None
    street.proxy.inject(Fault.DROP)
    for shop in street.others:  # hear, and do nothing
        deaf = shop.coherence._relay._neighbours
        assert deaf is not None
        deaf._act = lambda *_: None  # type: ignore[method-assign]
    await street.cut_off.price(1)
    first, *later = [await street.change(price) for price in (1, 2, 3, 4)]
    assert first > IN_PRODUCTION / 2
    assert min(later) < first / 2
    assert len(asked._silent) == 2


async def test_whoever_does_not_listen_finds_it_in_the_table(street: Street) -> None:
    street.proxy.inject(Fault.DROP)
    for shop in street.all:
        called = shop.coherence._relay._neighbours
        assert called is not None
        await called.close()
    await street.change(3)
    async with asyncio.timeout(PATIENT):
        while [await shop.price(1) for shop in street.others] != [3, 3]:
            await asyncio.sleep(0.01)


async def test_a_listener_that_is_thrown_out_listens_again(
    street: Street, postgres: Postgres
) -> None:
    name = street.cut_off.database.engine.url.database
    assert name is not None
    postgres.sql(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' "  # noqa: S608 - ours
        f"AND application_name = '{peer_notify.NAME}'"
    )
    async with asyncio.timeout(PATIENT):
        while all(street.hears(shop) for shop in street.all):
            await asyncio.sleep(0)
        while not all(street.hears(shop) for shop in street.all):
            await asyncio.sleep(0.02)
    street.proxy.inject(Fault.DROP)
    assert await stale(street) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '["intend", "zz", []]',
        '["intend", "00", [["a"]]]',
        '["intend", "00", 5]',
        '["what", "00", []]',
        '["answer", "00", 1]',
    ],
)
async def test_what_is_no_call_of_ours_harms_nobody(
    street: Street, postgres: Postgres, text: str
) -> None:
    name = street.cut_off.database.engine.url.database
    assert name is not None
    postgres.sql(f"SELECT pg_notify('{peer_notify.CHANNEL}', '{text}')", database=name)
    street.proxy.inject(Fault.DROP)
    await street.change(2)
    assert [await shop.price(1) for shop in street.others] == [2, 2]


async def test_a_write_of_very_much_is_called_as_all_there_is(street: Street) -> None:
    marks = [street.cut_off.prices.entry(str(number)) for number in range(5000)]
    for shop in street.others:
        await shop.price(1)
    street.proxy.inject(Fault.DROP)
    async with street.cut_off.database.writing() as session:
        street.cut_off.coherence.touch(session, *marks)
        (await session.get_one(Product, 1)).price_cents = 4
    assert [await shop.price(1) for shop in street.others] == [4, 4]


async def test_each_process_keeps_one_connection_and_gives_it_back(
    street: Street, postgres: Postgres
) -> None:
    def listening() -> int:
        name = street.cut_off.database.engine.url.database
        return int(
            postgres.sql(
                f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' "  # noqa: S608 - ours
                f"AND application_name = '{peer_notify.NAME}'"
            )
        )

    assert listening() == len(street.all)
    for shop in street.all:
        await shop.coherence.close()
    async with asyncio.timeout(PATIENT):
        while listening():
            await asyncio.sleep(0.02)


async def test_a_write_that_is_given_up_while_others_are_asked_is_not_committed(
    street: Street,
) -> None:
    street.proxy.inject(Fault.DROP)
    asked = street.cut_off.coherence._relay._neighbours
    assert asked is not None
    await asked._turn.acquire()  # so that nobody hears
    writing = asyncio.ensure_future(street.change(9))
    await asyncio.sleep(IN_PRODUCTION)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    asked._turn.release()
    assert [await shop.price(1) for shop in street.all] == [0, 0, 0]
    assert await street.change(3)
    assert [await shop.price(1) for shop in street.all] == [3, 3, 3]
    assert asked._questions == {}


async def test_calls_that_nobody_can_answer_in_time_stay_few(street: Street) -> None:
    heard = street.others[0].coherence._relay._neighbours
    assert heard is not None
    never = asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        await never.wait()

    heard._cache.intend = hang  # type: ignore[method-assign, assignment]
    for number in range(3 * peer_notify.CALLS_AT_ONCE):
        heard._act(1, "intend", f"{number:016x}", [["price:1", False]])
    assert len(heard._acting) == peer_notify.CALLS_AT_ONCE


async def test_on_sqlite_they_are_late_by_a_look_into_the_table(
    tmp_path: Path, redis_server: Redis, anyio_backend: str
) -> None:
    async with opened(f"sqlite+aiosqlite:///{tmp_path}/shop.db", redis_server) as street:
        for shop in street.others:
            await shop.price(1)
        street.proxy.inject(Fault.DROP)
        await street.change(5)
        assert await street.cut_off.price(1) == 5
        began = time.monotonic()
        async with asyncio.timeout(PATIENT):
            while [await shop.price(1) for shop in street.others] != [5, 5]:
                await asyncio.sleep(0.005)
        assert time.monotonic() - began < outbox.RELAY_SECONDS


def test_who_need_not_answer_is_not_waited_for() -> None:
    question = peer_notify.Question({3})
    question.answer(1, told=False)
    assert not question.settled.is_set()
    question.ask({1, 2, 3})
    assert not question.settled.is_set()
    assert question.missing == {2, 3}
    question.answer(2, told=False)
    assert question.settled.is_set()
