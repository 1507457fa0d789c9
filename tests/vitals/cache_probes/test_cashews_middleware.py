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

cashews = pytest.importorskip("cashews", reason="cashews is not installed")

# The library closes its own client by a name that redis-py has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")


def use(url: str, call: Callable[[Any], Awaitable[None]], **options: Any) -> None:
    """Call with a watched cache."""

    async def run() -> None:
        cache = cashews.Cache()
        watch(watch(cache, **options))
        cache.setup(url)
        try:
            await call(cache)
        finally:
            await cache.close()

    asyncio.run(run())


async def look_up(cache: Any) -> None:
    await cache.set("user:k3y", 1)
    assert await cache.get("user:k3y") == 1
    assert await cache.get("k3y") is None
    assert await cache.get_many("user:k3y", "k3y") == (1, None)
    with cache.disabling():
        assert await cache.get("user:k3y") is None


def test_a_cache_in_the_process_is_layer_l1() -> None:
    app = application()
    use("mem://", look_up, cache="rest", namespaces={"user:": "users"})
    assert lookups(app, "users") == {"hit": 2, "bypass": 1}
    assert lookups(app, "rest") == {"miss": 2}
    assert layers(app, "users") == layers(app, "rest") == {"l1"}
    assert operations(app, "users") == {"set": 1, "get": 1, "get_many": 1}
    assert "k3y" not in label_values(app)


@pytest.mark.servers
def test_a_cache_in_redis_is_layer_l2(redis_server: Redis) -> None:
    app = application()
    use(redis_server.url, look_up)
    assert lookups(app, "cashews") == {"hit": 2, "miss": 2, "bypass": 1}
    assert layers(app, "cashews") == {"l2"}


@pytest.mark.servers
@pytest.mark.parametrize("suppress", [True, False])
def test_a_failed_lookup_is_an_error_though_cashews_suppresses_it(
    redis_server: Redis, *, suppress: bool
) -> None:
    app = application()

    async def call(cache: Any) -> None:
        assert await cache.get("a") is None
        redis_server.kill()
        if suppress:
            assert await cache.get("a") is None
            assert await cache.get_many("a", "b") == (None, None)
        else:
            with pytest.raises(cashews.CacheBackendInteractionError):
                await cache.get("a")

    use(f"{redis_server.url}?suppress={suppress}", call)
    failed = 3 if suppress else 1
    assert lookups(app, "cashews") == {"miss": 1, "error": failed}
    kinds = {kind for _, kind in errors(app, "cashews")}
    assert kinds == {"ConnectionError" if suppress else "CacheBackendInteractionError"}


def test_a_decorated_function_counts_even_none() -> None:
    app = application()

    async def call(cache: Any) -> None:
        async def find(number: int) -> None:
            del number

        nothing = cache(ttl="1m", key="nothing:{number}")(find)
        for number in (1, 1, 2):
            await nothing(number)
        async with cache.transaction():
            await nothing(1)

    use("mem://", call)
    assert lookups(app, "cashews") == {"hit": 2, "miss": 2}
