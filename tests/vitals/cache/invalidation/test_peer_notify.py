"""Peer notification: a process cut off from Redis commits, and its peers serve no stale values."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.util import await_only

from tests.proxy import Fault, Proxy
from tests.servers import Postgres, Redis
from tests.vitals.cache.caches import LONG_TIMEOUT
from tests.vitals.cache.databases import AnyDatabase, ForeignDatabase, ServiceDatabase
from tests.vitals.cache.invalidation.test_session_hooks import DEADLINE_SECONDS, Shop
from vitals.cache import TIMEOUT_SECONDS
from vitals.cache.invalidation import peer_notify, relay
from vitals.cache.invalidation.outbox import NAME

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

WRITES = 25
APPLICATION_NAME = f"vitals {NAME}"
IN_PRODUCTION = relay.COMMIT_DELAY_SECONDS


class Street:
    """Shops on one database and one Redis; the first reaches Redis through a proxy."""

    def __init__(
        self, opens: Callable[[], AnyDatabase], redis: Redis, proxy: Proxy, timeout: float
    ) -> None:
        self.proxy = proxy
        self.cut_off = Shop(opens(), f"redis://127.0.0.1:{proxy.port}/0", timeout)
        self.others = [Shop(opens(), redis.url) for _ in range(2)]
        self.all = [self.cut_off, *self.others]

    async def open(self) -> None:
        await self.cut_off.database.create()
        async with self.cut_off.database.writing() as session:
            session.add(
                self.cut_off.product(id=1, name="thing", category="all", price_cents=0, stock=1)
            )
        for shop in self.all:
            await shop.cache.start()
            await shop.invalidator.start()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not all(self.is_listening(shop) for shop in self.all):
                await asyncio.sleep(0.02)

    @staticmethod
    def is_listening(shop: Shop) -> bool:
        peers = shop.invalidator._relay._peers
        return peers is None or peers.is_listening

    async def change(self, price: int) -> float:
        """Change the price in the process that is cut off; return the seconds it took."""
        began = time.monotonic()
        async with self.cut_off.database.writing() as session:
            (await session.get_one(self.cut_off.product, 1)).price_cents = price
        return time.monotonic() - began

    async def close(self) -> None:
        self.proxy.clear()
        for shop in self.all:
            await shop.close()


@asynccontextmanager
async def opened(
    opens: Callable[[], AnyDatabase], redis: Redis, seconds: float = TIMEOUT_SECONDS
) -> AsyncIterator[Street]:
    async with Proxy.before(redis.port) as proxy:
        street = Street(opens, redis, proxy, seconds)
        await street.open()
        yield street
        await street.close()


@pytest.fixture(autouse=True)
def _calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a long delay where a test is not about time, because the machine may be busy."""
    monkeypatch.setattr(relay, "COMMIT_DELAY_SECONDS", LONG_TIMEOUT)


@pytest.fixture(params=[ForeignDatabase, ServiceDatabase])
async def street(
    request: pytest.FixtureRequest, postgres: Postgres, redis_server: Redis, anyio_backend: str
) -> AsyncIterator[Street]:
    async with opened(partial(request.param, postgres.database()), redis_server) as standing:
        yield standing


async def stale(street: Street) -> list[tuple[int, int]]:
    """Return the peers' stale reads, each with the committed price."""
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
async def test_no_stale_reads_while_writer_is_cut_off_from_redis(
    street: Street, fault: Fault
) -> None:
    street.proxy.inject(fault)
    assert await stale(street) == []


async def test_peers_are_notified_before_the_redis_timeout(
    postgres: Postgres, redis_server: Redis, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    monkeypatch.setattr(relay, "COMMIT_DELAY_SECONDS", 0.8)
    async with opened(
        partial(ForeignDatabase, postgres.database()), redis_server, seconds=1.0
    ) as street:
        for shop in street.others:
            await shop.price(1)
            shop.invalidator._relay.relay = nothing  # type: ignore[method-assign]
        street.proxy.inject(Fault.HALF_OPEN)
        await street.change(6)
        assert [await shop.price(1) for shop in street.others] == [6, 6]


async def nothing(*, wait: bool = False) -> None:
    """Relay nothing."""
    del wait


async def test_values_are_cached_again_after_peer_relay(street: Street) -> None:
    street.proxy.inject(Fault.DROP)
    await street.change(1)
    shop = street.others[0]
    async with asyncio.timeout(peer_notify.PING_SECONDS * 5):  # far less than an intent lasts
        while await shop.prices.peek("1") is None or await shop.pending():
            await shop.price(1)
            await asyncio.sleep(0.01)


async def test_held_intents_are_delivered_before_redis_is_used(
    street: Street, redis_server: Redis
) -> None:
    for shop in street.all:
        await shop.price(1)
    redis_server.pause()
    for shop in street.all:
        await shop.price(1)  # all have detected the outage
    took = await street.change(7)
    redis_server.resume()
    assert [await shop.price(1) for shop in street.all] == [7, 7, 7]
    assert took < peer_notify.PING_SECONDS  # each peer has answered


async def test_redis_recovery_between_notification_and_commit(
    street: Street, redis_server: Redis
) -> None:
    async def meanwhile() -> None:
        redis_server.resume()
        for shop in street.others:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not await shop.cache.ping():
                    await asyncio.sleep(0.01)
            assert await shop.price(1) == 0
            await shop.invalidator.close()  # it misses the notification of the commit

    for shop in street.all:
        await shop.price(1)
    redis_server.pause()
    for shop in street.all:
        await shop.price(1)
    sessions = street.cut_off.invalidator._sessions.session_class
    event.listen(sessions, "before_commit", lambda _session: await_only(meanwhile()))
    await street.change(1)
    assert [await shop.price(1) for shop in street.others] == [1, 1]


async def test_unresponsive_peer_is_waited_for_once(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "COMMIT_DELAY_SECONDS", IN_PRODUCTION)
    peers = street.cut_off.invalidator._relay._peers
    assert peers is not None
    street.proxy.inject(Fault.DROP)
    for shop in street.others:  # receive, and do nothing
        peer = shop.invalidator._relay._peers
        assert peer is not None
        peer._handle = lambda *_: None  # type: ignore[method-assign]
    await street.cut_off.price(1)
    first, *later = [await street.change(price) for price in (1, 2, 3, 4)]
    assert first > IN_PRODUCTION / 2
    assert min(later) < first / 2
    assert len(peers._unresponsive) == 2


async def test_process_without_listen_polls_the_outbox(street: Street) -> None:
    street.proxy.inject(Fault.DROP)
    for shop in street.all:
        peers = shop.invalidator._relay._peers
        assert peers is not None
        await peers.close()
    await street.change(3)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while [await shop.price(1) for shop in street.others] != [3, 3]:
            await asyncio.sleep(0.01)


async def test_terminated_listener_reconnects(street: Street, postgres: Postgres) -> None:
    name = street.cut_off.database.engine.url.database
    assert name is not None
    postgres.sql(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' "  # noqa: S608 - ours
        f"AND application_name = '{APPLICATION_NAME}'"
    )
    async with asyncio.timeout(DEADLINE_SECONDS):
        while all(street.is_listening(shop) for shop in street.all):
            await asyncio.sleep(0)
        while not all(street.is_listening(shop) for shop in street.all):
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
async def test_foreign_notifications_are_ignored(
    street: Street, postgres: Postgres, text: str
) -> None:
    name = street.cut_off.database.engine.url.database
    assert name is not None
    postgres.sql(f"SELECT pg_notify('{NAME}', '{text}')", database=name)
    street.proxy.inject(Fault.DROP)
    await street.change(2)
    assert [await shop.price(1) for shop in street.others] == [2, 2]


async def test_oversized_notification_invalidates_everything(street: Street) -> None:
    targets = [street.cut_off.prices.entry(str(number)) for number in range(900)]
    for shop in street.others:
        await shop.price(1)
    street.proxy.inject(Fault.DROP)
    async with street.cut_off.database.writing() as session:
        street.cut_off.invalidator.invalidate_on_commit(session, *targets)
        (await session.get_one(street.cut_off.product, 1)).price_cents = 4
    assert [await shop.price(1) for shop in street.others] == [4, 4]


async def test_each_process_has_one_listening_connection_and_closes_it(
    street: Street, postgres: Postgres
) -> None:
    def listening() -> int:
        name = street.cut_off.database.engine.url.database
        return int(
            postgres.sql(
                f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' "  # noqa: S608 - ours
                f"AND application_name = '{APPLICATION_NAME}'"
            )
        )

    assert listening() == len(street.all)
    for shop in street.all:
        await shop.invalidator.close()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while listening():
            await asyncio.sleep(0.02)


async def test_write_cancelled_during_peer_notification_is_not_committed(
    street: Street,
) -> None:
    street.proxy.inject(Fault.DROP)
    peers = street.cut_off.invalidator._relay._peers
    assert peers is not None
    await peers._lock.acquire()  # blocks the notification
    writing = asyncio.ensure_future(street.change(9))
    await asyncio.sleep(IN_PRODUCTION)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    peers._lock.release()
    assert [await shop.price(1) for shop in street.all] == [0, 0, 0]
    assert await street.change(3)
    assert [await shop.price(1) for shop in street.all] == [3, 3, 3]
    assert peers._requests == {}


async def test_concurrent_notifications_are_limited(street: Street) -> None:
    receiver = street.others[0].invalidator._relay._peers
    assert receiver is not None
    never = asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        await never.wait()

    receiver._cache.intend = hang  # type: ignore[method-assign, assignment]
    for number in range(3 * peer_notify.MAX_CONCURRENT_MESSAGES):
        receiver._handle(1, "intend", f"{number:016x}", [["price:1", False]])
    assert len(receiver._tasks) == peer_notify.MAX_CONCURRENT_MESSAGES


async def test_on_sqlite_peers_are_stale_for_one_polling_interval(
    tmp_path: Path, redis_server: Redis, anyio_backend: str
) -> None:
    async with opened(
        partial(ForeignDatabase, f"sqlite+aiosqlite:///{tmp_path}/shop.db"), redis_server
    ) as street:
        for shop in street.others:
            await shop.price(1)
        street.proxy.inject(Fault.DROP)
        await street.change(5)
        assert await street.cut_off.price(1) == 5
        began = time.monotonic()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while [await shop.price(1) for shop in street.others] != [5, 5]:
                await asyncio.sleep(0.005)
        assert time.monotonic() - began < relay.RELAY_SECONDS


def test_unresponsive_peers_are_not_waited_for() -> None:
    request = peer_notify.PeerRequest({3})
    request.replied(1, delivered=False)
    assert not request.settled.is_set()
    request.sent_to({1, 2, 3})
    assert not request.settled.is_set()
    assert request.missing == {2, 3}
    request.replied(2, delivered=False)
    assert request.settled.is_set()
