"""Redis store: several processes, and outages of Redis."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis import Redis as Client

from tests.servers import Redis
from tests.vitals.cache.caches import LONG_TIMEOUT, PRODUCTION_TIMEOUT, Process, Source
from vitals.cache.cache import Cache
from vitals.metrics.catalogue import (
    CACHE_BREAKER_OPEN,
    CACHE_FILLS_REJECTED,
    CACHE_INVALIDATIONS,
    CACHE_REQUESTS,
)

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

DEADLINE_SECONDS = 20.0
"""Seconds until a test gives up waiting."""


@pytest.fixture
async def one(
    request: pytest.FixtureRequest, redis_server: Redis, anyio_backend: str
) -> AsyncIterator[Process]:
    process = Process(redis_server.url, getattr(request, "param", LONG_TIMEOUT))
    yield process
    redis_server.resume()
    await process.cache.close()


@pytest.fixture
async def other(redis_server: Redis, anyio_backend: str) -> AsyncIterator[Process]:
    process = Process(redis_server.url, LONG_TIMEOUT)
    yield process
    redis_server.resume()
    await process.cache.close()


hasty = pytest.mark.parametrize("one", [PRODUCTION_TIMEOUT], indirect=True)


@pytest.fixture
def database(anyio_backend: str) -> Source:
    return Source()


async def test_processes_share_values(one: Process, other: Process, database: Source) -> None:
    await one.numbers.get("k", database.load)

    assert await other.numbers.get("k", database.load) == 1
    assert database.loads == 1
    assert other.reads(CACHE_REQUESTS, layer="l2", result="hit") == 1


@pytest.mark.parametrize("forget", ["invalidate", "clear"])
async def test_load_is_not_stored_after_another_process_invalidated(
    one: Process, other: Process, database: Source, forget: str
) -> None:
    database.go.clear()
    early = asyncio.ensure_future(one.numbers.get("k", database.load))
    await database.begun.wait()
    database.value = 2
    await (other.numbers.invalidate("k") if forget == "invalidate" else other.numbers.clear())
    late = asyncio.ensure_future(one.numbers.get("k", database.load))
    while (
        one.reads(CACHE_REQUESTS, result="miss") < 2
    ):  # the late reader has joined the early one's flight
        await asyncio.sleep(0.01)
    database.go.set()

    assert await early == 1  # it started before the invalidation
    assert await late == 2
    assert await other.numbers.get("k", database.load) == 2
    assert one.reads(CACHE_FILLS_REJECTED) == 1


async def test_late_follower_gets_no_stale_value(
    one: Process, other: Process, database: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = one.cache._store
    fill, stored, land = store.fill, asyncio.Event(), asyncio.Event()

    async def land_late(*arguments: Any) -> bool:
        kept = await fill(*arguments)
        stored.set()
        await land.wait()  # Redis has replied, and the reply is not read yet
        return kept

    monkeypatch.setattr(store, "fill", land_late)
    early = asyncio.ensure_future(one.numbers.get("k", database.load))
    await stored.wait()
    database.value = 2
    await other.numbers.invalidate("k")
    late = asyncio.ensure_future(one.numbers.get("k", database.load))
    while one.reads(CACHE_REQUESTS, result="miss") < 2:
        await asyncio.sleep(0.01)
    land.set()

    assert await early == 1
    assert await late == 2


async def test_no_read_is_older_than_last_invalidation(
    redis_server: Redis, anyio_backend: str
) -> None:
    chance = random.Random(7)  # noqa: S311 - a test
    processes = [Process(redis_server.url, LONG_TIMEOUT) for _ in range(3)]
    committed = dict.fromkeys("abcd", 0)
    announced = dict(committed)
    stale: list[tuple[str, int, int]] = []
    done = False

    async def write() -> None:
        nonlocal done
        for turn in range(1, 401):
            key = chance.choice("abcd")
            committed[key] = turn
            await asyncio.sleep(chance.choice((0, 0, 0.002)))
            await chance.choice(processes).numbers.invalidate(key)
            announced[key] = turn
        done = True

    async def read(process: Process) -> None:
        while not done:
            key = chance.choice("abcd")
            expected = announced[key]

            async def load(key: str = key) -> int:
                found = committed[key]
                await asyncio.sleep(chance.choice((0, 0.001, 0.005)))
                return found

            got = await process.numbers.get(key, load)
            if got is None or got < expected:
                stale.append((key, expected, got or -1))

    readers = [read(process) for process in processes for _ in range(4)]
    await asyncio.gather(write(), *readers)
    hits = sum(process.reads(CACHE_REQUESTS, result="hit") for process in processes)
    for process in processes:
        await process.cache.close()

    assert stale == []
    assert hits > 100


async def test_cancelled_reads_never_mix_up_replies(one: Process) -> None:
    chance = random.Random(11)  # noqa: S311 - a test

    def loading(number: int) -> Any:
        async def load() -> int:
            return number

        return load

    keys = range(50)
    for number in keys:
        await one.numbers.get(str(number), loading(number))
    for _ in range(40):
        reads = [
            asyncio.ensure_future(one.numbers.get(str(number), loading(number))) for number in keys
        ]
        for _ in range(chance.randrange(8)):
            await asyncio.sleep(0)
        for read in chance.sample(reads, 25):
            read.cancel()
        got = await asyncio.gather(*reads, return_exceptions=True)
        assert all(
            value == number or isinstance(value, asyncio.CancelledError)
            for number, value in zip(keys, got, strict=True)
        )


async def test_a_hit_costs_one_command(one: Process, redis_server: Redis) -> None:
    async def load() -> int:
        return 1

    await one.numbers.get("k", load)
    with Client.from_url(redis_server.url) as client:
        before: Any = client.info("commandstats")
        for _ in range(10):
            await one.numbers.get("k", load)
        after: Any = client.info("commandstats")

    calls = {name: after[name]["calls"] - before.get(name, {"calls": 0})["calls"] for name in after}
    calls.pop("cmdstat_info")
    assert {name: count for name, count in calls.items() if count} == {"cmdstat_mget": 10}


@hasty
@pytest.mark.parametrize("trouble", ["kill", "pause"])
async def test_reads_continue_while_redis_is_down_or_frozen(
    one: Process, redis_server: Redis, database: Source, trouble: str
) -> None:
    await one.numbers.get("k", database.load)
    getattr(redis_server, trouble)()

    async with asyncio.timeout(DEADLINE_SECONDS):
        for turn in range(2, 60):
            database.value = turn
            assert await one.numbers.get("k", database.load) == turn
    assert one.reads(CACHE_BREAKER_OPEN) == 1
    assert one.reads(CACHE_REQUESTS, result="error") >= 1
    assert one.reads(CACHE_REQUESTS, result="bypass") > 40  # the circuit is open

    redis_server.resume()
    redis_server.start()
    await one.recovered(DEADLINE_SECONDS)
    assert one.reads(CACHE_BREAKER_OPEN) == 0


@hasty
@pytest.mark.parametrize("forget", ["invalidate", "clear"])
async def test_pending_invalidation_is_delivered_before_redis_is_used(
    one: Process, other: Process, redis_server: Redis, database: Source, forget: str
) -> None:
    await one.numbers.get("k", database.load)
    redis_server.pause()
    database.value = 2
    await (one.numbers.invalidate("k") if forget == "invalidate" else one.numbers.clear())
    assert one.reads(CACHE_INVALIDATIONS, outcome="queued") == 1

    redis_server.resume()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while one.reads(CACHE_REQUESTS, result="hit") == 0:
            assert await one.numbers.get("k", database.load) == 2
    assert await other.numbers.get("k", database.load) == 2
    assert one.reads(CACHE_INVALIDATIONS, outcome="ok") == 1


@hasty
async def test_invalidation_survives_request_cancellation(
    one: Process, other: Process, redis_server: Redis, database: Source
) -> None:
    await one.numbers.get("k", database.load)
    redis_server.pause()
    database.value = 2
    request = asyncio.ensure_future(one.numbers.invalidate("k"))
    await asyncio.sleep(0)
    request.cancel()
    await asyncio.wait([request])
    redis_server.resume()

    await one.recovered(DEADLINE_SECONDS)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await other.numbers.get("k", database.load) != 2:
            await asyncio.sleep(0.02)


async def test_pending_invalidations_at_close_are_delivered_or_counted_lost(
    redis_server: Redis, anyio_backend: str, database: Source
) -> None:
    process = Process(redis_server.url, PRODUCTION_TIMEOUT)
    redis_server.kill()
    await process.numbers.invalidate("a", "b")
    await process.cache.close()

    assert process.reads(CACHE_INVALIDATIONS, outcome="queued") == 2
    assert process.reads(CACHE_INVALIDATIONS, outcome="failed") == 2


async def test_a_restart_of_redis_costs_only_loads(
    one: Process, redis_server: Redis, database: Source
) -> None:
    await one.numbers.get("k", database.load)
    redis_server.stop()
    redis_server.start()

    await one.recovered(DEADLINE_SECONDS)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while one.reads(CACHE_REQUESTS, result="hit") < 2:
            assert await one.numbers.get("k", database.load) == 1


async def test_full_redis_stores_nothing_and_still_invalidates(
    one: Process, redis_server: Redis, database: Source
) -> None:
    await one.numbers.get("old", database.load)
    with Client.from_url(redis_server.url) as client:
        before = {name: client.config_get(name)[name] for name in ("maxmemory", "maxmemory-policy")}
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        try:
            for _ in range(5):
                assert await one.numbers.get("new", database.load) == 1
            assert one.reads(CACHE_BREAKER_OPEN) == 0  # stored values are still served
            await one.numbers.get("old", database.load)
            assert one.reads(CACHE_REQUESTS, result="hit") == 1

            database.value = 2
            await one.numbers.invalidate("old")
            assert await one.numbers.get("old", database.load) == 2
        finally:
            for name, value in before.items():
                client.config_set(name, value)

    await one.numbers.get("new", database.load)
    assert await one.numbers.get("new", database.load) == 2
    assert one.reads(CACHE_REQUESTS, result="hit") == 2


async def test_incompatible_or_corrupt_entry_is_a_miss(
    one: Process, redis_server: Redis, database: Source, anyio_backend: str
) -> None:
    newer = Cache(redis_server.url)
    texts = newer.namespace("number", schema=str, ttl=60)

    async def text() -> str:
        return "three"

    assert await one.numbers.get("k", database.load) == 1
    assert await texts.get("k", text) == "three"
    assert await one.numbers.get("k", database.load) == 1
    await one.numbers.invalidate("k")  # the older release's invalidation reaches the newer one
    with Client.from_url(redis_server.url) as client:
        assert client.exists("v2:{number:k}") == 0
        await one.numbers.get("k", database.load)
        stored: Any = client.get("v2:{number:k}")
        client.set("v2:{number:k}", stored[:-1] + b"9")
    assert await one.numbers.get("k", database.load) == 1
    await newer.close()


@hasty
async def test_too_many_pending_invalidations_clear_their_namespace(
    one: Process, other: Process, redis_server: Redis, database: Source
) -> None:
    await other.numbers.get("untouched", database.load)
    redis_server.pause()
    await one.numbers.invalidate(*map(str, range(2000)))
    redis_server.resume()
    await one.recovered(DEADLINE_SECONDS)

    await other.numbers.get("untouched", database.load)
    assert database.loads == 2
