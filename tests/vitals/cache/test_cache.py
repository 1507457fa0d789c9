"""The cache in a host: its metrics, its workers, what it imports."""

import asyncio
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from fastapi import FastAPI
from redis import Redis as Client
from sqlalchemy import NullPool, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from tests.servers import Redis
from tests.vitals.cache.databases import Base, Product
from vitals import instrument
from vitals.cache import Cache, CacheInvalidator
from vitals.cache import cache as module
from vitals.metrics.catalogue import CACHE_BREAKER_OPEN, CACHE_REQUESTS
from vitals.testing import Readings

pytestmark = pytest.mark.anyio


async def load() -> int:
    return 7


async def test_instrument_records_namespaces_made_before_and_after() -> None:
    app, cache = FastAPI(), Cache()
    before = cache.namespace("before", schema=int, ttl=60)
    instrument(app, logs=False, probes=[cache])
    after = cache.namespace("after", schema=int, ttl=60)
    for namespace in (before, after):
        for _ in range(3):
            assert await namespace.get("k", load) == 7
    readings = Readings.of(app)
    for name in ("before", "after"):
        assert readings.value(CACHE_REQUESTS, cache=name, layer="l1", result="hit") == 2
        assert readings.value(CACHE_REQUESTS, cache=name, layer="l1", result="miss") == 1


async def test_circuit_of_redis_is_a_metric_whenever_instrumented() -> None:
    app, cache = FastAPI(), Cache("redis://127.0.0.1:1")
    numbers = cache.namespace("number", schema=int, ttl=60)
    async with cache:
        assert await numbers.get("k", load) == 7  # nothing listens there
        instrument(app, logs=False, probes=[cache])
        assert Readings.of(app).value(CACHE_BREAKER_OPEN, cache="number") == 1


@pytest.mark.parametrize("when", ["made", "started"])
async def test_nothing_is_cached_among_workers_without_redis(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, when: str
) -> None:
    if when == "made":
        monkeypatch.setattr(module, "server_pid", lambda: 1)
    cache = Cache()
    monkeypatch.setattr(module, "server_pid", lambda: 1)  # the server forked a worker
    numbers, loads = cache.namespace("number", schema=int, ttl=60), []

    async def count() -> int:
        loads.append(1)
        return 1

    async with cache:
        for _ in range(2):
            await numbers.get("k", count)
    assert len(loads) == 2
    assert caplog.text.count("nothing is cached") == 1


async def test_a_single_process_caches_though_a_server_started_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "server_pid", lambda: 1)
    async with Cache(single_process=True) as cache:
        numbers = cache.namespace("number", schema=int, ttl=60)
        await numbers.get("k", load)
        assert await numbers.peek("k") is not None


@pytest.mark.servers
async def test_services_that_share_a_redis_have_prefixes(redis_server: Redis) -> None:
    async def other() -> int:
        return 8

    async with (
        Cache(redis_server.url, timeout=10, prefix="shop:") as shop,
        Cache(redis_server.url, timeout=10, prefix="blog:") as blog,
    ):
        numbers = [each.namespace("number", schema=int, ttl=60) for each in (shop, blog)]
        assert await numbers[0].get("k", load) == 7
        assert await numbers[1].get("k", other) == 8
        assert await numbers[0].get("k", other) == 7
        await numbers[1].clear()
        assert await numbers[0].peek("k") is not None
    with Client.from_url(redis_server.url) as client:
        names = {str(name, "ascii").partition(":")[0] for name in client.scan_iter()}
    assert names == {"shop", "blog"}


def test_a_prefix_cannot_break_the_slots_of_a_cluster() -> None:
    with pytest.raises(ValueError, match="prefix"):
        Cache("redis://localhost", prefix="{shop}")


@pytest.mark.servers
def test_a_cache_that_is_never_started_serves_every_event_loop(redis_server: Redis) -> None:
    """As in a host's tests without a lifespan: a loop for each, ended without closing the cache."""
    code = f"""
        import asyncio, threading
        from vitals.cache import Cache

        cache = Cache("{redis_server.url}", timeout=10)
        numbers = cache.namespace("number", schema=int, ttl=60)

        async def load():
            await asyncio.sleep(0.001)
            return 7

        async def read():
            for _ in range(5):
                found = await asyncio.gather(*(numbers.get(f"k{{n}}", load) for n in range(99)))
                assert found == [7] * 99
                await numbers.invalidate("k1")

        async def leave():
            asyncio.ensure_future(numbers.get("k1", lambda: asyncio.sleep(60)))
            await asyncio.sleep(0.01)

        for _ in range(3):
            asyncio.run(read())
            asyncio.run(leave())
        threads = [threading.Thread(target=asyncio.run, args=[read()]) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        asyncio.run(read())
        print("done")
    """
    found = subprocess.run(
        [sys.executable, "-c", dedent(code)],
        check=False,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert found.stdout == "done\n", found.stderr


def test_a_cache_in_the_process_needs_neither_redis_nor_sqlalchemy() -> None:
    code = """
        import asyncio, sys
        for name in ("redis", "hiredis", "zstandard", "sqlalchemy", "greenlet"):
            sys.modules[name] = None
        from vitals.cache import Cache, Namespace

        async def main():
            async with Cache() as cache:
                numbers = cache.namespace("number", schema=int, ttl=60)

                @numbers.cached()
                async def double(n: int) -> int:
                    return 2 * n

                assert [await double(2), await double(2)] == [4, 4]
                assert await numbers.peek("2") is not None

        asyncio.run(main())
        try:
            Cache("redis://localhost")
        except ModuleNotFoundError as missing:
            print(missing)
    """
    found = subprocess.run(
        [sys.executable, "-c", dedent(code)], capture_output=True, text=True, check=True
    )
    assert "[cache]" in found.stdout


@pytest.mark.servers
@pytest.mark.parametrize("url", ["", "redis"])
def test_a_cache_serves_again_on_another_event_loop(
    url: str, redis_server: Redis, tmp_path: Path
) -> None:
    """As in a host's tests, which start one application several times."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db", poolclass=NullPool)
    cache = Cache(redis_server.url if url else "", timeout=10)
    numbers = cache.namespace("number", schema=int, ttl=60, l1_ttl=1)
    invalidator = CacheInvalidator(cache, engine).watch(Product, keys=numbers)

    async def slow() -> int:
        await asyncio.sleep(0.001)
        return 1

    async def price() -> int | None:
        async with AsyncSession(engine) as session:
            found: int | None = await session.scalar(select(Product.price_cents))
            return found

    async def serve(expected: int) -> None:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with cache, invalidator:
            # More than may load at a time: some wait.
            found = await asyncio.gather(
                *(numbers.get(f"k{n}-{expected}", slow) for n in range(99))
            )
            assert found == [1] * 99
            async with AsyncSession(engine) as session:
                await session.merge(
                    Product(id=1, name="a", category="a", price_cents=expected, stock=1)
                )
                await session.commit()
            assert await numbers.get("1", price) == expected
            assert await numbers.get("1", price) == expected
            assert await numbers.peek("1") is not None
            relay = invalidator._relay._task
            await asyncio.sleep(0)
            assert relay is None or not relay.done()
            assert await cache.ping()

    for expected in (1, 2, 3):
        asyncio.run(serve(expected))
