"""Cache warm-up: at startup, and after a restart of Redis."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis import Redis as Client

from tests.redis_groups import Cluster
from tests.servers import Redis
from tests.vitals.cache.caches import DEADLINE_SECONDS, Process, Source
from vitals.cache.warmup import warmup
from vitals.cache.warmup.warmup import WarmUp
from vitals.metrics.catalogue import CACHE_REQUESTS

pytestmark = [pytest.mark.anyio, pytest.mark.servers]


@pytest.fixture
async def processes(redis_server: Redis, anyio_backend: str) -> AsyncIterator[list[Process]]:
    started = [Process(redis_server.url) for _ in range(2)]
    yield started
    redis_server.resume()
    for process in started:
        await process.cache.close()


def warming(process: Process, source: Source) -> WarmUp:
    """Return a warm-up of one configured value and the hot keys."""

    async def load(key: str) -> int | None:
        return await process.numbers.get(key, source.load)

    return WarmUp(process.cache, [lambda: load("always")], {process.numbers: load})


@pytest.fixture
async def ups(processes: list[Process], source: Source) -> AsyncIterator[list[WarmUp]]:
    """Warm-ups of two processes that have reported hot keys."""
    started = [warming(process, source) for process in processes]
    await asyncio.gather(*(up.start() for up in started))
    for process, up in zip(processes, started, strict=True):
        await asks(process, source, *HOT)
        await up.report()
    yield started
    for up in started:
        await up.close()


HOT = ("hot", "hotter")
WARM = {"v2:{number:always}", "v2:{number:hot}", "v2:{number:hotter}"}


async def asks(process: Process, source: Source, *keys: str) -> None:
    for key in keys:
        await process.numbers.get(key, source.load)


async def warm(redis: Redis) -> None:
    """Wait until all hot keys are stored, without reading them."""
    with Client.from_url(redis.url, decode_responses=True) as client:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not set(client.keys("v2:{number:*}")) >= WARM:
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_restarted_redis_is_warmed_up_by_one_process(
    ups: list[WarmUp], processes: list[Process], source: Source, redis_server: Redis, end: str
) -> None:
    assert len(ups) == len(processes)
    hits = sum(process.reads(CACHE_REQUESTS, result="hit") for process in processes)
    getattr(redis_server, end)()
    before = source.loads
    redis_server.start()
    await warm(redis_server)
    await asyncio.sleep(2 * warmup.POLL_SECONDS)  # the other one has noticed, too
    assert source.loads - before == len(WARM)
    assert sum(process.reads(CACHE_REQUESTS, result="hit") for process in processes) == hits


async def test_warm_up_waits_until_catch_up_is_done(
    processes: list[Process], source: Source, redis_server: Redis
) -> None:
    known = asyncio.Event()

    async def catch_up() -> None:
        await known.wait()

    processes[0].cache.before_recovery(catch_up)
    up = warming(processes[0], source)
    await up.start()
    await asks(processes[0], source, *HOT)
    redis_server.kill()
    while await processes[0].cache.ping():
        pass
    redis_server.start()
    await asyncio.sleep(2 * warmup.POLL_SECONDS)
    known.set()
    await warm(redis_server)
    await up.close()


async def test_frozen_redis_is_not_warmed_up_again(
    ups: list[WarmUp], processes: list[Process], source: Source, redis_server: Redis
) -> None:
    assert ups
    redis_server.pause()
    while await processes[0].cache.ping():
        pass
    redis_server.resume()
    before = source.loads
    for process in processes:
        await process.recovered()
    await asyncio.sleep(2 * warmup.POLL_SECONDS)
    assert source.loads == before


async def test_redis_started_after_the_process_is_warmed_up(
    processes: list[Process], source: Source, redis_server: Redis
) -> None:
    redis_server.kill()
    up = warming(processes[0], source)
    await up.start()
    await asks(processes[0], source, *HOT)
    redis_server.start()
    await warm(redis_server)
    await up.close()


async def test_a_master_of_a_cluster_that_was_restarted_is_warmed_up(
    source: Source, anyio_backend: str
) -> None:
    cluster = Cluster()
    process = Process(f"redis+cluster://127.0.0.1:{cluster.port}")
    up = warming(process, source)
    await up.start()
    try:
        await asks(process, source, *HOT)
        await up.report()
        node = cluster.owner("v2:{number:hotter}")
        cluster.nodes[node].kill()
        cluster.nodes[node].start()
        cluster.wait()
        client: Any = cluster.clients[node]
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not client.exists("v2:{number:hotter}"):
                await asyncio.sleep(0.02)
    finally:
        await up.close()
        await process.cache.close()
        cluster.close()


async def test_starting_process_loads_hot_keys_of_others(
    processes: list[Process], source: Source, redis_server: Redis
) -> None:
    old, new = processes

    async def load(process: Process, key: str) -> int | None:
        return await process.numbers.get(key, source.load)

    ups = [
        WarmUp(p.cache, [lambda p=p: load(p, "always")], {p.numbers: lambda key, p=p: load(p, key)})  # type: ignore[misc]
        for p in processes
    ]
    for key in ("hot", "hotter", "hotter"):
        await load(old, key)
    await ups[0].report()
    await new.numbers.clear()
    before = source.loads

    await asyncio.gather(*(up.start() for up in ups))  # one of them does it for both
    assert source.loads - before == 3
    for key in ("always", "hot", "hotter"):
        await load(new, key)
    assert source.loads - before == 3
    for up in ups:
        await up.close()


async def test_failing_warm_up_does_not_block_startup(
    processes: list[Process], source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitals.cache.warmup.warmup.WAIT_SECONDS", 0.05)
    source.go.clear()

    async def fail() -> int:
        raise LookupError

    async def hang() -> int | None:
        return await processes[0].numbers.get("k", source.load)

    up = WarmUp(processes[0].cache, [fail, hang], {})
    async with asyncio.timeout(DEADLINE_SECONDS):
        await up.start()
    assert source.loads == 1
    source.go.set()
    await up.close()
