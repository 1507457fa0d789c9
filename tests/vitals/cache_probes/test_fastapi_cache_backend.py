import asyncio
from collections.abc import Iterator

import pytest
import redis.asyncio

from tests.servers import Redis
from tests.vitals.cache_probes.measured import (
    application,
    errors,
    label_values,
    layers,
    lookups,
    operations,
)
from tests.vitals.client import fetch
from vitals import watch

fastapi_cache = pytest.importorskip("fastapi_cache", reason="fastapi-cache2 is not installed")
backends = pytest.importorskip("fastapi_cache.backends.inmemory", reason="the same")
redis_backend = pytest.importorskip("fastapi_cache.backends.redis", reason="the same")
decorator = pytest.importorskip("fastapi_cache.decorator", reason="the same")


@pytest.fixture(autouse=True)
def _reset() -> Iterator[None]:
    backends.InMemoryBackend._store.clear()
    yield
    fastapi_cache.FastAPICache.reset()


def test_an_endpoints_responses_are_measured_by_namespace() -> None:
    app = application()
    fastapi_cache.FastAPICache.init(backends.InMemoryBackend(), prefix="shop")
    names = {"shop:rates:": "rates"}
    watch(fastapi_cache.FastAPICache, cache="responses", namespaces=names)

    async def rates(day: str) -> str:
        return day

    app.get("/rates")(decorator.cache(expire=60, namespace="rates")(rates))
    for day in ("m0nday", "m0nday", "tuesday"):
        assert fetch(app, "GET", f"/rates?day={day}").json() == day
    assert lookups(app, "rates") == {"hit": 1, "miss": 2}
    assert layers(app, "rates") == {"l1"}
    assert operations(app, "rates") == {"get": 3, "set": 2}
    assert "m0nday" not in label_values(app)


@pytest.mark.servers
def test_what_the_decorator_catches_is_an_error(redis_server: Redis) -> None:
    app = application()

    async def run() -> None:
        client = redis.asyncio.Redis.from_url(redis_server.url)
        backend = redis_backend.RedisBackend(client)
        fastapi_cache.FastAPICache.init(backend, prefix="shop")
        watch(backend, cache="responses")

        async def calculate(number: int) -> int:
            return 2 * number

        double = decorator.cache(expire=60)(calculate)
        assert await double(1) == 2
        assert await double(1) == 2
        redis_server.kill()
        assert await double(1) == 2
        await client.aclose()

    asyncio.run(run())
    assert lookups(app, "responses") == {"hit": 1, "miss": 1, "error": 1}
    assert layers(app, "responses") == {"l2"}
    assert errors(app, "responses") == {
        ("get", "ConnectionError"): 1,
        ("set", "ConnectionError"): 1,
    }
