"""Behaviour of a namespace, with each store."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest
from pydantic import BaseModel, Field

from vitals.cache.cache import Cache
from vitals.cache.core import loader as namespaces
from vitals.cache.core.keys import shorten
from vitals.cache.core.namespace import Namespace
from vitals.cache.reporter import CacheReporter
from vitals.metrics.catalogue import (
    CACHE_FILLS_REJECTED,
    CACHE_INVALIDATIONS,
    CACHE_LOAD_DURATION,
    CACHE_REQUESTS,
)
from vitals.metrics.endpoint import MetricsEndpoint
from vitals.metrics.meter import Meter
from vitals.testing import Readings


class Thing(BaseModel):
    id: int
    label: str = Field(alias="name")
    tags: list[str] = []


class Loader:
    """A source of things that counts loads, and can pause them."""

    def __init__(self) -> None:
        self.loads = 0
        self.version = 1
        self.go = asyncio.Event()
        self.go.set()
        self.begun = asyncio.Event()

    async def __call__(self) -> Thing | None:
        self.loads += 1
        thing = Thing(id=self.version, name="thing")
        self.begun.set()
        await self.go.wait()
        return thing


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.servers)])
def url(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "memory" else request.getfixturevalue("redis_server").url


@pytest.fixture
def meter() -> Meter:
    return Meter()


@pytest.fixture
async def cache(url: str, anyio_backend: str) -> AsyncIterator[Cache]:
    opened = Cache(url, timeout=10)  # a busy machine must not look like a failed Redis
    yield opened
    await opened.close()


@pytest.fixture
def things(cache: Cache, meter: Meter) -> Namespace[Thing]:
    return cache.namespace("thing", schema=Thing, ttl=60, reporter=CacheReporter(meter, "thing"))


def results(meter: Meter) -> dict[str, float]:
    """Return the number of lookups by result, without zeros."""
    readings = Readings.parse(
        MetricsEndpoint(meter).render(as_openmetrics=True, gzipped=False).decode()
    )
    found = {labels["result"] for labels in readings.series(CACHE_REQUESTS)}
    counts = {result: readings.value(CACHE_REQUESTS, result=result) for result in sorted(found)}
    return {result: count for result, count in counts.items() if count}


def reading(meter: Meter, metric: Any, part: str = "", /, **labels: str) -> float:
    page = MetricsEndpoint(meter).render(as_openmetrics=True, gzipped=False).decode()
    return Readings.parse(page).value(metric, part, **labels)


@asynccontextmanager
async def under_way(load: Loader, read: Callable[[], Awaitable[Any]]) -> AsyncIterator[Any]:
    """Start a read whose load is paused until the block ends."""
    load.go.clear()
    load.begun.clear()
    task = asyncio.ensure_future(read())
    await load.begun.wait()
    with ExitStack() as ending:
        ending.callback(load.go.set)
        yield task
    await asyncio.wait([task])


@pytest.mark.anyio
async def test_value_is_loaded_once_and_then_hit(things: Namespace[Thing], meter: Meter) -> None:
    load = Loader()

    first = await things.get("1", load)
    second = await things.get("1", load)

    assert first == second == Thing(id=1, name="thing")
    assert load.loads == 1
    assert results(meter) == {"hit": 1, "miss": 1}
    assert reading(meter, CACHE_LOAD_DURATION, "_count") == 1


@pytest.mark.anyio
async def test_negative_entry_has_its_own_ttl(
    cache: Cache, meter: Meter, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = CacheReporter(meter, "few")
    few = cache.namespace("few", schema=int, ttl=60, negative_ttl=0.05, reporter=report)
    loads = 0

    async def nothing() -> None:
        nonlocal loads
        loads += 1

    assert await few.get("1", nothing) is None
    assert await few.get("1", nothing) is None
    assert loads == 1
    assert results(meter) == {"miss": 1, "negative": 1}

    async with asyncio.timeout(5):
        while loads == 1:
            await few.get("1", nothing)


@pytest.mark.anyio
async def test_concurrent_callers_share_one_load_but_no_object(
    things: Namespace[Thing], meter: Meter
) -> None:
    load = Loader()
    async with under_way(load, lambda: things.get("1", load)) as first:
        others = [asyncio.ensure_future(things.get("1", load)) for _ in range(9)]
        while sum(results(meter).values()) < 10:
            await asyncio.sleep(0.01)
    got = await asyncio.gather(first, *others)

    assert load.loads == 1
    assert all(thing == got[0] for thing in got)
    assert got[0] is not None
    got[0].tags.append("mine")
    assert [thing.tags for thing in got[1:] if thing] == [[]] * 9


@pytest.mark.anyio
async def test_cancelled_caller_does_not_affect_others(
    things: Namespace[Thing], meter: Meter
) -> None:
    load = Loader()
    async with under_way(load, lambda: things.get("1", load)) as first:
        others = [asyncio.ensure_future(things.get("1", load)) for _ in range(5)]
        while sum(results(meter).values()) < 6:
            await asyncio.sleep(0.01)
        first.cancel()
        others[0].cancel()
    got = await asyncio.gather(*others, return_exceptions=True)

    assert first.cancelled()
    assert isinstance(got[0], asyncio.CancelledError)
    assert got[1:] == [Thing(id=1, name="thing")] * 4
    assert load.loads == 1


@pytest.mark.anyio
async def test_load_with_all_callers_cancelled_fills_the_cache(
    things: Namespace[Thing], meter: Meter
) -> None:
    load = Loader()
    async with under_way(load, lambda: things.get("1", load)) as only:
        only.cancel()

    async with asyncio.timeout(5):
        while results(meter).get("hit", 0) == 0:
            await things.get("1", load)
    assert load.loads == 1


@pytest.mark.anyio
async def test_failing_load_raises_and_is_not_cached(
    things: Namespace[Thing],
) -> None:
    async def fail() -> Thing:
        raise LookupError("no database")

    for _ in range(2):
        with pytest.raises(LookupError, match="no database"):
            await things.get("1", fail)
    assert await things.get("1", Loader()) == Thing(id=1, name="thing")


@pytest.mark.anyio
async def test_hanging_load_times_out(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitals.cache.cache.LOAD_DEADLINE_SECONDS", 0.05)
    cache = Cache(url)
    things = cache.namespace("thing", schema=Thing, ttl=60)
    load = Loader()
    load.go.clear()

    with pytest.raises(TimeoutError):
        await things.get("1", load)
    await cache.close()


@pytest.mark.anyio
async def test_an_invalidated_value_is_loaded_again(things: Namespace[Thing], meter: Meter) -> None:
    load = Loader()
    for key in ("1", "2", "3"):
        await things.get(key, load)

    await things.invalidate("1", "2")
    await things.invalidate()
    for key in ("1", "2", "3"):
        await things.get(key, load)

    assert load.loads == 5
    assert reading(meter, CACHE_INVALIDATIONS, outcome="ok") == 2


@pytest.mark.anyio
async def test_clear_drops_only_its_namespace(cache: Cache, things: Namespace[Thing]) -> None:
    others = cache.namespace("other", schema=Thing, ttl=60)
    load = Loader()
    for namespace in (things, others):
        await namespace.get("1", load)

    await things.clear()
    for namespace in (things, others):
        await namespace.get("1", load)

    assert load.loads == 3


@pytest.mark.anyio
@pytest.mark.parametrize("forget", ["invalidate", "clear"])
async def test_value_invalidated_during_load_is_not_stored(
    things: Namespace[Thing], meter: Meter, forget: str
) -> None:
    load = Loader()
    async with under_way(load, lambda: things.get("1", load)) as early:
        load.version = 2  # a commit, and after it the invalidation:
        await (things.invalidate("1") if forget == "invalidate" else things.clear())
        late = asyncio.ensure_future(things.get("1", load))
    before, after = await early, await late

    assert (before.id, after.id if after else 0) == (1, 2)
    stored = await things.get("1", load)
    assert stored is not None
    assert stored.id == 2
    assert reading(meter, CACHE_FILLS_REJECTED) >= 1


@pytest.mark.anyio
async def test_builtins_lists_and_aliased_models_round_trip(cache: Cache) -> None:
    lists = cache.namespace("lists", schema=list[Thing], ttl=60)
    words = cache.namespace("words", schema=dict[str, int], ttl=60)

    async def load_list() -> list[Thing]:
        return [Thing(id=1, name="a"), Thing(id=2, name="ß", tags=["x"])]

    async def load_words() -> dict[str, int]:
        return {}

    for _ in range(2):
        assert await lists.get("k", load_list) == await load_list()
        assert await words.get("k", load_words) == {}


@pytest.mark.anyio
async def test_keys_of_any_kind_are_distinct(things: Namespace[Thing]) -> None:
    keys = ["1", "{1}", "1}", "1}:lease", "", " ", "#", "ä" * 60, "x" * 5000, "x" * 5001, "\n"]
    keys.append(shorten("x" * 5000))  # what the long one is stored as
    versions = dict(enumerate(keys, start=1))
    for version, key in versions.items():
        load = Loader()
        load.version = version
        await things.get(key, load)

    for version, key in versions.items():
        stored = await things.get(key, Loader())
        assert stored is not None
        assert stored.id == version


@pytest.mark.anyio
async def test_entries_filled_together_expire_apart(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives: list[float] = []
    fill = cache._store.fill

    async def note(lease: Any, stored: Any, ttl: float, budget: Any) -> bool:
        lives.append(ttl)
        return await fill(lease, stored, ttl, budget)

    monkeypatch.setattr(cache._store, "fill", note)
    things = cache.namespace("thing", schema=Thing, ttl=60)
    for key in range(20):
        await things.get(str(key), Loader())

    assert len(set(lives)) == 20
    assert all(60 * (1 - namespaces.TTL_JITTER) <= life <= 60 for life in lives)


@pytest.mark.anyio
async def test_invalid_names_and_ttls_are_refused(cache: Cache) -> None:
    cache.namespace("taken", schema=int, ttl=1)
    for name in ("taken", "Upper", "", "a:b"):
        with pytest.raises(ValueError, match="new name"):
            cache.namespace(name, schema=int, ttl=1)
    with pytest.raises(ValueError, match="above 0"):
        cache.namespace("short", schema=int, ttl=0)


@pytest.mark.anyio
async def test_ping_succeeds(cache: Cache) -> None:
    assert await cache.ping()


@pytest.mark.anyio
async def test_without_redis_multiple_processes_cache_nothing(anyio_backend: str) -> None:
    cache = Cache("", single_process=False)
    things = cache.namespace("thing", schema=Thing, ttl=60)
    load = Loader()
    for _ in range(2):
        await things.get("1", load)
    assert load.loads == 2
    await cache.close()
