"""The cache's parts that decide by themselves: breaker, outbox, memory store, codec."""

import asyncio
import re
from collections.abc import Callable

import pytest
from pydantic import BaseModel

from service.cache.core.codec import Codec
from service.cache.core.memory_store import MemoryBackend
from service.cache.core.metrics import Silent
from service.cache.core.single_flight import Doors, Flights, Seat
from service.cache.core.store import Found, Intent, Mark, Patience, Place, Region
from service.cache.invalidation.outbox import Outbox
from vitals.cache_metrics import CacheReporter

PATIENCE = Patience(1)
THINGS = Region("things")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


# -- Outbox ----------------------------------------------------------------------------------


def mark(key: str) -> Mark:
    return Mark(f"things:{key}", whole=False, region=THINGS)


EVERYTHING = (Mark("things", whole=True, region=THINGS),)


def test_the_outbox_keeps_what_is_under_way_until_it_is_settled() -> None:
    outbox = Outbox(lambda: EVERYTHING)
    assert not outbox
    outbox.add([mark("1")])
    taken = outbox.take()

    assert taken == (mark("1"),)
    assert outbox  # still owed
    outbox.add([mark("2")])
    outbox.settle()
    assert outbox.take() == (mark("2"),)
    outbox.settle()
    assert not outbox


def test_what_could_not_be_delivered_joins_what_came_meanwhile() -> None:
    outbox = Outbox(lambda: EVERYTHING)
    outbox.add([mark("1")])
    outbox.take()
    outbox.add([mark("2")])
    outbox.put_back()

    assert set(outbox.take()) == {mark("1"), mark("2")}


def test_a_full_outbox_owes_everything_instead() -> None:
    outbox = Outbox(lambda: EVERYTHING, limit=3)
    outbox.add(map(mark, "1234"))

    assert outbox.take() == EVERYTHING


# -- Flights ---------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_flight_that_has_landed_takes_nobody() -> None:
    flights: Flights[int] = Flights()
    landing = asyncio.Event()
    flown = 0

    async def fly(_doors: Doors) -> int:
        nonlocal flown
        flown += 1
        await asyncio.sleep(0)
        landing.set()  # who waits for it runs right after the return, before any done-callback
        return flown

    async def late() -> tuple[int, Seat]:
        await landing.wait()
        return await flights.join("k", fly)

    waiting = asyncio.ensure_future(late())
    await asyncio.sleep(0)

    assert await flights.join("k", fly) == (1, Seat.PILOT)
    assert await waiting == (2, Seat.PILOT)


# -- Memory ----------------------------------------------------------------------------------


def place(key: str, region: Region = THINGS) -> Place:
    return Place(region, f"{region.name}:{key}", (region.name,))


async def put(
    store: MemoryBackend, key: str, value: bytes = b"v", ttl: float = 60, region: Region = THINGS
) -> bool:
    look = await store.read(place(key, region))
    claim = await store.claim(place(key, region), look, PATIENCE)
    return await store.fill(claim, Found(value, 0, 0), ttl, PATIENCE)


def memory(clock: Callable[[], float], **bounds: int) -> MemoryBackend:
    store = MemoryBackend(clock=clock, **bounds)
    store.register(THINGS)
    return store


async def held(store: MemoryBackend, *keys: str, region: Region = THINGS) -> str:
    """The keys that are stored, joined."""
    return "".join([key for key in keys if (await store.read(place(key, region))).found])


@pytest.mark.anyio
async def test_an_entry_ends_with_its_lifetime(clock: Clock) -> None:
    store = memory(clock)
    await put(store, "a", ttl=10)
    clock.now += 9.9
    assert await held(store, "a") == "a"
    clock.now += 0.1
    assert await held(store, "a") == ""


@pytest.mark.anyio
async def test_writers_that_never_committed_are_forgotten(clock: Clock) -> None:
    store = memory(clock)
    for number in range(100):
        await store.intend(Intent((mark(str(number)), mark("again"))))
        clock.now += 1
    assert sum(map(len, store._writing.values())) < 40


@pytest.mark.anyio
async def test_the_least_recently_used_entry_makes_room(clock: Clock) -> None:
    store = memory(clock, max_entries=2)
    await put(store, "a")
    await put(store, "b")
    await held(store, "a")
    await put(store, "c")

    assert await held(store, "a", "b", "c") == "ac"


class Bytes(Silent):
    held = 0

    def l1_bytes(self, size: int, /) -> None:
        self.held = size


@pytest.mark.anyio
async def test_memory_is_bounded_and_reported(clock: Clock) -> None:
    report = Bytes()
    region = Region("things", report)
    store = MemoryBackend(clock=clock, max_bytes=10_000)
    store.register(region)
    for number in range(50):
        await put(store, str(number), b"x" * 1000, region=region)

    assert 7_000 < report.held <= 10_000
    await put(store, "giant", b"x" * 20_000, region=region)
    assert await held(store, "giant", region=region) == ""
    assert report.held > 7_000  # it made nobody leave
    await store.invalidate((Mark("things", whole=True, region=region),))
    assert report.held == 0


@pytest.mark.anyio
async def test_a_writer_that_never_ends_is_forgotten_in_time(clock: Clock) -> None:
    store = memory(clock)
    await store.intend(Intent((mark("a"), *EVERYTHING)))
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


def test_a_value_of_another_shape_or_meaning_is_refused() -> None:
    stored = Codec(Old).encode(Old(id=1))

    assert Codec(Old).decode(stored) == Old(id=1)
    for other in (Codec(New), Codec(Old, schema=2), Codec(list[Old])):
        with pytest.raises(ValueError, match="another shape"):
            other.decode(stored)
    with pytest.raises(ValueError, match="validation error"):
        Codec(Old).decode(stored + b"}")


def test_what_is_rendered_is_the_json_and_a_tag_that_only_it_has() -> None:
    codec = Codec(Old)
    one, same, two = (codec.rendered(codec.encode(Old(id=number))) for number in (1, 1, 2))
    assert one is not None
    assert two is not None
    assert one.body == b'{"id":1}'
    assert re.fullmatch(r"[A-Za-z0-9_-]{16}", one.tag)
    assert one == same
    assert one.tag != two.tag
    assert codec.rendered(codec.encode(None)) is None
    with pytest.raises(ValueError, match="another shape"):
        Codec(New).rendered(codec.encode(Old(id=1)))


def test_nothing_is_told_from_a_value_that_is_null() -> None:
    assert Codec(Old).decode(Codec(Old).encode(None)) is None


def test_the_kits_reporter_fits_where_silence_does() -> None:
    members = {name for name in vars(Silent) if not name.startswith("_")}
    assert members <= set(dir(CacheReporter))
