"""The cache's parts that decide by themselves: breaker, outbox, memory store, codec."""

import asyncio
import re
from collections.abc import Callable

import pytest
from pydantic import BaseModel

from service.cache.backend import Patience, Region
from service.cache.breaker import Breaker
from service.cache.codec import Codec
from service.cache.flights import Doors, Flights, Seat
from service.cache.memory import MemoryBackend
from service.cache.outbox import EVERYTHING, Outbox
from service.cache.report import Silent
from vitals.caching import CacheReporter

PATIENCE = Patience(1)
THINGS = Region("things")
OTHERS = Region("others")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


# -- Breaker ---------------------------------------------------------------------------------


def test_the_breaker_opens_after_failures_in_a_row_only(clock: Clock) -> None:
    told: list[bool] = []
    breaker = Breaker(told.append, clock=clock)
    for _ in range(5):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
    assert breaker.admits()
    assert told == []

    for _ in range(4):
        breaker.failed()
    assert not breaker.admits()
    assert told == [True]


@pytest.mark.parametrize("end", ["failed", "abandoned"])
def test_an_open_breaker_admits_one_probe_at_a_time(clock: Clock, end: str) -> None:
    told: list[bool] = []
    breaker = Breaker(told.append, pause=1, clock=clock)
    for _ in range(3):
        breaker.failed()

    clock.now += 1
    assert [breaker.admits() for _ in range(3)] == [True, False, False]
    getattr(breaker, end)()
    assert breaker.admits() is (end == "abandoned")  # a failure costs another pause

    clock.now += 1
    breaker.abandoned()
    assert breaker.admits()
    breaker.succeeded()
    assert [breaker.admits() for _ in range(3)] == [True] * 3
    assert told == [True, False]


# -- Outbox ----------------------------------------------------------------------------------


def test_the_outbox_keeps_what_is_under_way_until_it_is_settled() -> None:
    outbox = Outbox()
    assert not outbox
    outbox.add(THINGS, {"1"})
    taken = outbox.take()

    assert taken == {THINGS: {"1"}}
    assert outbox  # still owed
    outbox.add(THINGS, {"2"})
    outbox.settle()
    assert outbox.take() == {THINGS: {"2"}}
    outbox.settle()
    assert not outbox


def test_what_could_not_be_delivered_joins_what_came_meanwhile() -> None:
    outbox = Outbox()
    outbox.add(THINGS, {"1"})
    outbox.take()
    outbox.add(THINGS, {"2"})
    outbox.add(OTHERS, EVERYTHING)
    outbox.put_back()

    assert outbox.take() == {THINGS: {"1", "2"}, OTHERS: EVERYTHING}


def test_a_full_outbox_owes_a_clearing_instead() -> None:
    outbox = Outbox(limit=3)
    outbox.add(OTHERS, {"1"})
    outbox.add(THINGS, {"1", "2", "3"})
    outbox.add(THINGS, {"4"})
    outbox.add(OTHERS, {"2"})

    assert outbox.take() == {OTHERS: {"1", "2"}, THINGS: EVERYTHING}


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


async def put(store: MemoryBackend, key: str, value: bytes = b"v", ttl: float = 60) -> bool:
    claim = await store.claim(THINGS, key, PATIENCE)
    return await store.fill(claim, value, ttl, PATIENCE)


def memory(clock: Callable[[], float], **bounds: int) -> MemoryBackend:
    store = MemoryBackend(clock=clock, **bounds)
    store.register(THINGS)
    return store


async def held(store: MemoryBackend, *keys: str) -> str:
    """The keys that are stored, joined."""
    return "".join([key for key in keys if await store.read(THINGS, key, PATIENCE) is not None])


@pytest.mark.anyio
async def test_an_entry_ends_with_its_lifetime(clock: Clock) -> None:
    store = memory(clock)
    await put(store, "a", ttl=10)
    clock.now += 9.9
    assert await held(store, "a") == "a"
    clock.now += 0.1
    assert await held(store, "a") == ""


@pytest.mark.anyio
async def test_the_least_recently_used_entry_makes_room(clock: Clock) -> None:
    store = memory(clock, max_entries=3)
    for key in "abc":
        await put(store, key)
    await held(store, "a")
    await put(store, "d")

    assert await held(store, *"abcd") == "acd"


class Bytes(Silent):
    held = 0

    def l1_bytes(self, size: int, /) -> None:
        self.held = size


@pytest.mark.anyio
async def test_bytes_are_bounded_and_counted(clock: Clock) -> None:
    report = Bytes()
    region = Region("things", report)
    store = MemoryBackend(clock=clock, max_bytes=10_000)
    store.register(region)
    for number in range(50):
        claim = await store.claim(region, str(number), PATIENCE)
        await store.fill(claim, b"x" * 1000, 60, PATIENCE)

    assert 7_000 < report.held <= 10_000
    claim = await store.claim(region, "giant", PATIENCE)
    await store.fill(claim, b"x" * 20_000, 60, PATIENCE)
    assert await store.read(region, "giant", PATIENCE) is None
    assert report.held > 7_000  # it made nobody leave
    await store.clear(region)
    assert report.held == 0


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
