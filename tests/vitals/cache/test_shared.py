"""Several processes: leases, tags, the L1 cache of each."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis import Redis as Client

from tests.servers import Redis
from tests.vitals.cache.caches import DEADLINE_SECONDS, Process, Source, clients_of
from vitals.cache.core.namespace import Namespace
from vitals.cache.core.store import Lookup, TimeoutBudget
from vitals.cache.reporter import CacheReporter
from vitals.metrics.catalogue import (
    CACHE_BUS_CONNECTED,
    CACHE_ENTRIES_REFUSED,
    CACHE_FILLS_REJECTED,
    CACHE_L1_BYTES,
    CACHE_REQUESTS,
)

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

LASTING = 30.0
"""L1 TTL in seconds: longer than a test."""


@pytest.fixture
async def processes(redis_server: Redis, anyio_backend: str) -> AsyncIterator[list[Process]]:
    started = [Process(redis_server.url) for _ in range(2)]
    for process in started:
        process.l1_namespace = process.cache.namespace(  # type: ignore[attr-defined]
            "l1", schema=int, ttl=60, l1_ttl=LASTING, reporter=CacheReporter(process.meter, "l1")
        )
        await process.cache.start()
    yield started
    redis_server.resume()
    for process in started:
        await process.cache.close()


def l1_namespace(process: Process) -> Namespace[int]:
    found: Namespace[int] = process.l1_namespace  # type: ignore[attr-defined]
    return found


async def until(holds: Any) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not holds():
            await asyncio.sleep(0.01)


# -- Leases ----------------------------------------------------------------------------------


async def test_processes_share_one_load(processes: list[Process], source: Source) -> None:
    source.go.clear()
    reads = [
        asyncio.ensure_future(process.numbers.get("k", source.load))
        for process in processes
        for _ in range(50)
    ]
    await source.begun.wait()
    await until(lambda: all(p.reads(CACHE_REQUESTS, result="miss") == 50 for p in processes))
    source.go.set()

    assert await asyncio.gather(*reads) == [1] * 100
    assert source.loads == 1


async def test_lease_of_dead_process_expires(
    processes: list[Process], source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitals.cache.redis.store.LEASE_MS", 100)
    dead, alive = processes
    ref = dead.numbers._entry_ref("k", ())
    await dead.cache._store.acquire_lease(ref, Lookup(None), TimeoutBudget(10))

    assert await alive.numbers.get("k", source.load) == 1
    assert await alive.numbers.get("k", source.load) == 1
    assert source.loads == 1  # it waited for the lease to expire, acquired it, and filled


async def test_lease_is_renewed_during_load(
    processes: list[Process], source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitals.cache.redis.store.LEASE_MS", 150)
    monkeypatch.setattr("vitals.cache.core.lease.RENEW_SECONDS", 0.02)
    source.go.clear()
    first = asyncio.ensure_future(processes[0].numbers.get("k", source.load))
    await source.begun.wait()
    second = asyncio.ensure_future(processes[1].numbers.get("k", source.load))
    await asyncio.wait([second], timeout=0.5)  # several leases long
    assert source.loads == 1
    source.go.set()
    assert [await first, await second] == [1, 1]


async def test_a_load_that_fails_lets_the_next_one_load(
    processes: list[Process], source: Source
) -> None:
    async def fail() -> int:
        raise LookupError

    with pytest.raises(LookupError):
        await processes[0].numbers.get("k", fail)
    async with asyncio.timeout(1):  # shorter than a lease
        assert await processes[1].numbers.get("k", source.load) == 1


async def test_stale_value_is_served_during_refresh(
    processes: list[Process], source: Source
) -> None:
    soft = [
        process.cache.namespace(
            "soft",
            schema=int,
            ttl=60,
            soft_ttl=0.001,
            reporter=CacheReporter(process.meter, "soft"),
        )
        for process in processes
    ]
    assert await soft[0].get("k", source.load) == 1
    source.value = 2
    source.go.clear()
    source.begun.clear()
    await asyncio.sleep(0.002)
    for namespace in soft * 5:
        assert await namespace.get("k", source.load) == 1
    await source.begun.wait()
    assert source.loads == 2
    assert processes[0].reads(CACHE_REQUESTS, cache="soft", result="stale") == 5

    source.go.set()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await soft[1].get("k", source.load) != 2:
            await asyncio.sleep(0.01)


# -- Tags ------------------------------------------------------------------------------------


async def test_tag_invalidates_only_its_entries(processes: list[Process], source: Source) -> None:
    one, other = processes
    odd = "odd {tag}\n" + "ü" * 200
    tags = {"a": ("red",), "b": ("red", odd), "c": (odd,), "d": ()}

    async def load_all() -> int:
        before = source.loads
        for key, under in tags.items():
            await one.numbers.get(key, source.load, under)
        return source.loads - before

    assert [await load_all(), await load_all()] == [4, 0]
    await other.cache.invalidate(other.cache.tag("red"))
    assert [await load_all(), await load_all()] == [2, 0]
    await other.cache.invalidate(other.cache.tag(odd))
    assert [await load_all(), await load_all()] == [2, 0]


async def test_value_whose_tag_was_invalidated_during_load_is_not_stored(
    processes: list[Process], source: Source
) -> None:
    one, other = processes
    source.go.clear()
    early = asyncio.ensure_future(one.numbers.get("k", source.load, ("red",)))
    await source.begun.wait()
    source.value = 2
    await other.cache.invalidate(other.cache.tag("red"))
    late = asyncio.ensure_future(one.numbers.get("k", source.load, ("red",)))
    await until(lambda: one.reads(CACHE_REQUESTS, result="miss") == 2)
    source.go.set()

    assert [await early, await late] == [1, 2]
    assert one.reads(CACHE_FILLS_REJECTED, cache="number") >= 1


# -- The layer in each process ---------------------------------------------------------------


async def test_l1_hit_needs_no_command_and_is_invalidated_by_peers(
    processes: list[Process], source: Source, redis_server: Redis
) -> None:
    one, other = processes
    for process in processes:
        await l1_namespace(process).render("k", source.load, ("red",))
    with Client.from_url(redis_server.url) as client:
        before: Any = client.info("commandstats")
        for _ in range(10):
            assert await l1_namespace(one).get("k", source.load, ("red",)) == 1
        after: Any = client.info("commandstats")
    assert before.get("cmdstat_mget") == after.get("cmdstat_mget")
    assert one.reads(CACHE_REQUESTS, layer="l1", result="hit") == 10
    assert one.reads(CACHE_L1_BYTES, cache="l1") > 0

    for target in (
        l1_namespace(other).entry("k"),
        other.cache.tag("red"),
        l1_namespace(other).everything,
    ):
        await l1_namespace(one).get("k", source.load, ("red",))
        assert one.reads(CACHE_L1_BYTES, cache="l1") > 0
        source.value += 1
        await other.cache.invalidate(target)
        await until(lambda: one.reads(CACHE_L1_BYTES, cache="l1") == 0)
        assert await l1_namespace(one).get("k", source.load, ("red",)) == source.value


async def test_l1_cache_is_empty_while_not_subscribed(
    processes: list[Process], source: Source, redis_server: Redis
) -> None:
    one = processes[0]
    await l1_namespace(one).get("k", source.load)
    assert one.reads(CACHE_BUS_CONNECTED, cache="l1") == 1
    with Client.from_url(redis_server.url) as client:
        client.client_kill_filter(_type="pubsub")
        await until(lambda: one.reads(CACHE_L1_BYTES, cache="l1") == 0)
    await until(lambda: one.reads(CACHE_BUS_CONNECTED, cache="l1") == 1)
    await l1_namespace(one).get("k", source.load)
    await l1_namespace(one).get("k", source.load)
    assert one.reads(CACHE_REQUESTS, layer="l1", result="hit") == 1


async def test_write_intent_drops_l1_entries(processes: list[Process], source: Source) -> None:
    one, other = processes
    await l1_namespace(one).get("k", source.load)
    intent = await other.cache.intend(l1_namespace(other).entry("k"))
    await until(lambda: one.reads(CACHE_L1_BYTES, cache="l1") == 0)
    await l1_namespace(one).get("k", source.load)
    assert one.reads(CACHE_L1_BYTES, cache="l1") == 0  # fills are refused now
    await other.cache.release(intent)


# -- What is not as expected -----------------------------------------------------------------


async def test_refused_entries_are_counted(
    processes: list[Process], source: Source, redis_server: Redis
) -> None:
    one, other = processes

    def refused(reason: str) -> float:
        return one.reads(CACHE_ENTRIES_REFUSED, reason=reason)

    with Client.from_url(redis_server.url) as client:
        await one.numbers.get("k", source.load)
        stored: Any = client.get("v2:{number:k}")
        for corrupt in (stored[:-1] + b"7", stored[:20], stored[:12] + b"\xff" * 20):
            client.set("v2:{number:k}", corrupt)
            assert await one.numbers.get("k", source.load) == 1
    assert refused("corrupt") == 3

    texts = other.cache.namespace("text", schema=str, ttl=60)
    counts = one.cache.namespace(
        "text", schema=int, ttl=60, reporter=CacheReporter(one.meter, "text")
    )

    async def text() -> str:
        return "x"

    async def giant() -> str:
        return "x" * 2_000_000

    await texts.get("k", text)
    assert await counts.get("k", source.load) == 1
    assert refused("schema") == 1

    report = CacheReporter(one.meter, "g")
    giants = one.cache.namespace("giant", schema=str, ttl=60, reporter=report)
    for _ in range(2):
        assert await giants.get("k", giant) == "x" * 2_000_000
    assert refused("too_large") == 2


async def test_no_connection_is_leaked(redis_server: Redis, anyio_backend: str) -> None:
    process = Process(redis_server.url)
    process.cache.namespace("l1", schema=int, ttl=60, l1_ttl=1)
    await process.cache.start()
    assert await process.cache.ping()
    assert clients_of(redis_server.port) == 2  # one for all callers, and the subscriber's
    await process.cache.close()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while clients_of(redis_server.port):
            await asyncio.sleep(0.02)
