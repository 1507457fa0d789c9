"""Units of the cache without Redis: pending invalidations, single flight, memory store, codec."""

import asyncio
import re
from collections.abc import Callable

import pytest
from pydantic import BaseModel

from vitals.cache.core.codec import Codec
from vitals.cache.core.memory_store import MemoryStore
from vitals.cache.core.metrics import NullReporter
from vitals.cache.core.single_flight import Flight, FlightRole, SingleFlight
from vitals.cache.core.store import (
    CachedValue,
    CacheInfo,
    EntryRef,
    InvalidationTarget,
    TimeoutBudget,
    WriteIntent,
)
from vitals.cache.invalidation_queue.pending import PendingInvalidations
from vitals.cache.reporter import CacheReporter

BUDGET = TimeoutBudget(1)
THINGS = CacheInfo("things")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


# -- Pending invalidations --------------------------------------------------------------------


def target(key: str) -> InvalidationTarget:
    return InvalidationTarget(f"things:{key}", is_generation=False, info=THINGS)


EVERYTHING = (InvalidationTarget("things", is_generation=True, info=THINGS),)


def test_taken_targets_are_pending_until_confirmed() -> None:
    outbox = PendingInvalidations(lambda: EVERYTHING)
    assert not outbox
    outbox.add([target("1")])
    taken = outbox.take()

    assert taken == (target("1"),)
    assert outbox  # still pending
    outbox.add([target("2")])
    outbox.confirm()
    assert outbox.take() == (target("2"),)
    outbox.confirm()
    assert not outbox


def test_put_back_targets_join_later_ones() -> None:
    outbox = PendingInvalidations(lambda: EVERYTHING)
    outbox.add([target("1")])
    outbox.take()
    outbox.add([target("2")])
    outbox.put_back()

    assert set(outbox.take()) == {target("1"), target("2")}


def test_too_many_pending_targets_become_everything() -> None:
    outbox = PendingInvalidations(lambda: EVERYTHING, limit=3)
    outbox.add(map(target, "1234"))

    assert outbox.take() == EVERYTHING


# -- Single flight ---------------------------------------------------------------------------


@pytest.mark.anyio
async def test_finished_flight_is_not_joined() -> None:
    flights: SingleFlight[int] = SingleFlight()
    landing = asyncio.Event()
    flown = 0

    async def fly(_doors: Flight) -> int:
        nonlocal flown
        flown += 1
        await asyncio.sleep(0)
        landing.set()  # its waiter runs right after the return, before any done callback
        return flown

    async def late() -> tuple[int, FlightRole]:
        await landing.wait()
        return await flights.join("k", fly)

    waiting = asyncio.ensure_future(late())
    await asyncio.sleep(0)

    assert await flights.join("k", fly) == (1, FlightRole.LEADER)
    assert await waiting == (2, FlightRole.LEADER)


# -- Memory ----------------------------------------------------------------------------------


def ref(key: str, info: CacheInfo = THINGS) -> EntryRef:
    return EntryRef(info, f"{info.name}:{key}", (info.name,))


async def put(
    store: MemoryStore, key: str, value: bytes = b"v", ttl: float = 60, info: CacheInfo = THINGS
) -> bool:
    lookup = await store.read(ref(key, info))
    lease = await store.acquire_lease(ref(key, info), lookup, BUDGET)
    return await store.fill(lease, CachedValue(value, 0, 0), ttl, BUDGET)


def memory(clock: Callable[[], float], **bounds: int) -> MemoryStore:
    store = MemoryStore(clock=clock, **bounds)
    store.register(THINGS)
    return store


async def held(store: MemoryStore, *keys: str, info: CacheInfo = THINGS) -> str:
    """Return the keys that are stored, joined."""
    return "".join([key for key in keys if (await store.read(ref(key, info))).value])


@pytest.mark.anyio
async def test_entry_expires_with_its_ttl(clock: Clock) -> None:
    store = memory(clock)
    await put(store, "a", ttl=10)
    clock.now += 9.9
    assert await held(store, "a") == "a"
    clock.now += 0.1
    assert await held(store, "a") == ""


@pytest.mark.anyio
async def test_expired_write_intents_are_removed(clock: Clock) -> None:
    store = memory(clock)
    for number in range(100):
        await store.intend(WriteIntent((target(str(number)), target("again"))))
        clock.now += 1
    assert sum(map(len, store._writers.values())) < 40


@pytest.mark.anyio
async def test_least_recently_used_entry_is_evicted(clock: Clock) -> None:
    store = memory(clock, max_entries=2)
    await put(store, "a")
    await put(store, "b")
    await held(store, "a")
    await put(store, "c")

    assert await held(store, "a", "b", "c") == "ac"


class Bytes(NullReporter):
    held = 0

    def l1_bytes(self, size: int, /) -> None:
        self.held = size


@pytest.mark.anyio
async def test_memory_is_bounded_and_reported(clock: Clock) -> None:
    report = Bytes()
    info = CacheInfo("things", report)
    store = MemoryStore(clock=clock, max_bytes=10_000)
    store.register(info)
    for number in range(50):
        await put(store, str(number), b"x" * 1000, info=info)

    assert 7_000 < report.held <= 10_000
    await put(store, "giant", b"x" * 20_000, info=info)
    assert await held(store, "giant", info=info) == ""
    assert report.held > 7_000  # it evicted nothing
    await store.invalidate((InvalidationTarget("things", is_generation=True, info=info),))
    assert report.held == 0


@pytest.mark.anyio
async def test_unreleased_write_intent_expires(clock: Clock) -> None:
    store = memory(clock)
    await store.intend(WriteIntent((target("a"), *EVERYTHING)))
    assert not await put(store, "a")
    assert not await put(store, "b")

    clock.now += 15
    assert await put(store, "a")


# -- Codec -----------------------------------------------------------------------------------


class Old(BaseModel):
    id: int


class New(BaseModel):
    id: int
    name: str = ""


def test_value_of_another_schema_is_refused() -> None:
    stored = Codec(Old).encode(Old(id=1))

    assert Codec(Old).decode(stored) == Old(id=1)
    for other in (Codec(New), Codec(Old, version=2), Codec(list[Old])):
        with pytest.raises(ValueError, match="another schema"):
            other.decode(stored)
    with pytest.raises(ValueError, match="validation error"):
        Codec(Old).decode(stored + b"}")


def test_rendered_value_is_json_with_unique_etag() -> None:
    codec = Codec(Old)
    one, same, two = (codec.render(codec.encode(Old(id=number))) for number in (1, 1, 2))
    assert one is not None
    assert two is not None
    assert one.body == b'{"id":1}'
    assert re.fullmatch(r"[A-Za-z0-9_-]{16}", one.etag)
    assert one == same
    assert one.etag != two.etag
    assert codec.render(codec.encode(None)) is None
    with pytest.raises(ValueError, match="another schema"):
        Codec(New).render(codec.encode(Old(id=1)))


def test_none_round_trips_as_negative_entry() -> None:
    assert Codec(Old).decode(Codec(Old).encode(None)) is None


def test_cache_reporter_implements_the_protocol() -> None:
    members = {name for name in vars(NullReporter) if not name.startswith("_")}
    assert members <= set(dir(CacheReporter))
