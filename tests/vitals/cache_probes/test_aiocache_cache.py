import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.servers import Redis
from tests.vitals.cache_probes.measured import (
    application,
    errors,
    label_values,
    layers,
    lookups,
    operations,
)
from vitals import watch

aiocache = pytest.importorskip("aiocache", reason="aiocache is not installed")

# The library closes its own client by a name that redis-py has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")


async def look_up(cache: Any) -> None:
    await cache.set("a", 1)
    assert await cache.get("a") == 1
    assert await cache.get("k3y") is None
    assert await cache.get("k3y", default=0) == 0
    assert await cache.multi_get(["a", "k3y"]) == [1, None]


def test_a_cache_in_the_process_is_layer_l1() -> None:
    app = application()
    asyncio.run(look_up(watch(aiocache.SimpleMemoryCache(namespace="memory"))))
    assert lookups(app, "memory") == {"hit": 2, "miss": 3}
    assert layers(app, "memory") == {"l1"}
    assert operations(app, "memory") == {"set": 1, "get": 3, "multi_get": 1}
    assert "k3y" not in label_values(app)


def use(server: Redis, call: Callable[[Any], Awaitable[None]], **options: Any) -> None:
    """Call with a watched cache in Redis."""

    async def run() -> None:
        serializer = aiocache.serializers.JsonSerializer()
        cache = aiocache.RedisCache(port=server.port, serializer=serializer, timeout=0.3)
        await call(watch(cache, **options))
        await cache.close()

    asyncio.run(run())


@pytest.mark.servers
def test_a_cache_in_redis_is_layer_l2(redis_server: Redis) -> None:
    app = application()
    use(redis_server, look_up, cache="shop")
    assert lookups(app, "shop") == {"hit": 2, "miss": 3}
    assert layers(app, "shop") == {"l2"}


@pytest.mark.servers
def test_namespaces_by_prefix_of_the_whole_key(redis_server: Redis) -> None:
    app = application()

    async def call(cache: Any) -> None:
        await cache.get("k3y", namespace="user:")
        await cache.get("k3y")

    use(redis_server, call, cache="shop", namespaces={"user:": "users"})
    assert lookups(app, "users") == {"miss": 1}
    assert lookups(app, "shop") == {"miss": 1}


@pytest.mark.servers
def test_timeouts_and_lost_connections_are_errors(redis_server: Redis) -> None:
    app = application()

    async def call(cache: Any) -> None:
        await cache.get("a")
        redis_server.pause()
        with pytest.raises(TimeoutError):
            await cache.get("a")
        redis_server.resume()
        redis_server.kill()
        with pytest.raises(Exception, match="onnect"):
            await cache.multi_get(["a", "b"])

    use(redis_server, call, cache="shop")
    assert lookups(app, "shop") == {"miss": 1, "error": 3}
    assert errors(app, "shop") == {("get", "TimeoutError"): 1, ("multi_get", "ConnectionError"): 1}


def test_a_decorated_functions_cache_is_measured() -> None:
    app = application()

    async def calculate(number: int) -> int:
        return 2 * number

    double = watch(aiocache.cached(namespace="decorated")(calculate), cache="doubles")

    async def run() -> None:
        for number in (1, 1, 2):
            await double(number)

    asyncio.run(run())
    assert lookups(app, "doubles") == {"hit": 1, "miss": 2}


def test_a_cache_that_is_switched_off_is_bypassed(monkeypatch: pytest.MonkeyPatch) -> None:
    app = application()
    cache = watch(aiocache.SimpleMemoryCache(), cache="shop")
    monkeypatch.setenv("AIOCACHE_DISABLE", "1")
    asyncio.run(cache.get("a"))
    assert lookups(app, "shop") == {"bypass": 1}
