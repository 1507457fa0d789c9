"""Unusual keys, too large values, corrupt entries: a miss, never a wrong value."""

import asyncio
import random
from collections.abc import Iterator
from secrets import token_bytes
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis import Redis as Client

from tests.servers import Redis
from vitals.cache.cache import Cache
from vitals.cache.core.loader import LARGEST_BYTES
from vitals.cache.reporter import CacheReporter
from vitals.metrics.catalogue import CACHE_ENTRIES_REFUSED, CACHE_REQUESTS
from vitals.metrics.endpoint import MetricsEndpoint
from vitals.metrics.meter import Meter
from vitals.testing import Readings

KEYS = ["", "{", "}", "{1}", "}1{", "1}:fence", "1:writers", "1\n2", "1\r\n2", "ключ", "🐚" * 100]
KEYS += ["x" * 10_000, "x" * 10_001, "\0", "\udc80", "#" + "0" * 32, "%s", "*", "a:b", "tag:a"]


class Shop:
    """A cache of texts, on an event loop of its own: hypothesis does not run coroutines."""

    def __init__(self, url: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.meter = Meter()
        self.texts, self.cache = self.loop.run_until_complete(self._open(url))

    async def _open(self, url: str) -> tuple[Any, Cache]:
        cache = Cache(url, timeout=10)
        report = CacheReporter(self.meter, "text")
        return cache.namespace("text", schema=str, ttl=60, reporter=report), cache

    def get(self, key: str, now: str, tags: tuple[str, ...] = ()) -> str | None:
        """Read through the cache what is `now` in the database."""

        async def load() -> str:
            return now

        got: str | None = self.loop.run_until_complete(self.texts.get(key, load, tags))
        return got

    def reads(self, metric: Any, **labels: str) -> float:
        page = MetricsEndpoint(self.meter).render(as_openmetrics=True, gzipped=False)
        return Readings.parse(page.decode()).value(metric, **labels)

    def close(self) -> None:
        self.loop.run_until_complete(self.cache.close())
        self.loop.close()


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.servers)])
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    url = "" if request.param == "memory" else request.getfixturevalue("redis_server").url
    opened = Shop(url)
    yield opened
    opened.close()


@pytest.fixture
def shared(redis_server: Redis) -> Iterator[Shop]:
    """A shop with its cache in Redis."""
    opened = Shop(redis_server.url)
    yield opened
    opened.close()


def test_unusual_keys_and_tags_are_distinct(shop: Shop) -> None:
    for number, key in enumerate(KEYS):
        assert shop.get(key, str(number), tags=(key,)) == str(number)
    for number, key in enumerate(KEYS):
        assert shop.get(key, "another", tags=(key,)) == str(number)

    for number, key in enumerate(KEYS):
        shop.loop.run_until_complete(shop.texts.invalidate(key))
        assert shop.get(key, f"new {number}", tags=(key,)) == f"new {number}"
    for number, key in enumerate(KEYS):
        assert shop.get(key, "another", tags=(key,)) == f"new {number}"
        shop.loop.run_until_complete(shop.cache.invalidate(shop.cache.tag(key)))
        assert shop.get(key, f"newer {number}", tags=(key,)) == f"newer {number}"
    for number, key in enumerate(KEYS):
        assert shop.get(key, "another", tags=(key,)) == f"newer {number}"


def test_too_large_value_is_not_cached(shop: Shop) -> None:
    large = token_bytes(LARGEST_BYTES).hex()
    assert shop.get("k", large) == large
    assert shop.get("k", "changed") == "changed"
    assert shop.reads(CACHE_ENTRIES_REFUSED, reason="too_large") == 1


DAMAGE = st.one_of(
    st.tuples(st.just("flip"), st.floats(0, 0.999), st.integers(0, 7)),
    st.tuples(st.just("cut"), st.floats(0, 0.999), st.just(0)),
    st.tuples(st.just("add"), st.just(0.0), st.integers(0, 255)),
    st.tuples(st.just("noise"), st.floats(0, 0.999), st.integers(0, 100)),
)


def damaged(stored: bytes, kind: str, where: float, how: int) -> bytes:
    """Return a damaged copy of an entry."""
    at = int(where * len(stored))
    if kind == "flip":
        return stored[:at] + bytes([stored[at] ^ (1 << how)]) + stored[at + 1 :]
    if kind == "cut":
        return stored[:at]
    if kind == "add":
        return stored + bytes([how])
    return stored[:at] + random.Random(how).randbytes(how)  # noqa: S311 - a test


@pytest.mark.servers
@pytest.mark.parametrize("text", ["short", "long " * 1000], ids=["plain", "compressed"])
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(damage=DAMAGE)
@example(damage=("cut", 0.0, 0))
def test_a_damaged_entry_is_a_miss(
    shared: Shop, redis_server: Redis, text: str, damage: tuple[str, float, int]
) -> None:
    with Client.from_url(redis_server.url) as client:
        client.delete("v2:{text:k}")
        shared.get("k", text)
        stored: Any = client.get("v2:{text:k}")
        corrupt = damaged(stored, *damage)
        client.set("v2:{text:k}", corrupt, keepttl=True)
        misses = shared.reads(CACHE_REQUESTS, result="miss")

        assert shared.get("k", "now") == ("now" if corrupt != stored else text)
        assert shared.reads(CACHE_REQUESTS, result="miss") == misses + (corrupt != stored)
        assert shared.get("k", "later") == ("now" if corrupt != stored else text)


@pytest.mark.servers
def test_entry_of_another_key_is_a_counted_miss(shared: Shop, redis_server: Redis) -> None:
    shared.get("one", "1")
    shared.get("two", "2")
    with Client.from_url(redis_server.url) as client:
        client.copy("v2:{text:one}", "v2:{text:two}", replace=True)
    assert shared.get("two", "now") == "now"
    assert shared.reads(CACHE_ENTRIES_REFUSED, reason="corrupt") == 1
    assert shared.get("two", "later") == "now"


@pytest.mark.servers
def test_entry_of_another_schema_is_a_counted_miss(shared: Shop, redis_server: Redis) -> None:
    async def write() -> None:
        newer = Cache(redis_server.url, timeout=10)
        numbers = newer.namespace("text", schema=int, ttl=60)

        async def load() -> int:
            return 7

        await numbers.get("k", load)
        await newer.close()

    shared.loop.run_until_complete(write())
    assert shared.get("k", "now") == "now"
    assert shared.reads(CACHE_ENTRIES_REFUSED, reason="schema") >= 1
    assert shared.get("k", "later") == "now"


@pytest.mark.servers
@pytest.mark.parametrize("name", ["v2:{text:k}", "v2:{text:k}:fence", "v2:{text:k}:writers"])
@pytest.mark.parametrize("strange", ["list", "text"])
def test_foreign_redis_values_raise_nothing(
    shared: Shop, redis_server: Redis, name: str, strange: str
) -> None:
    with Client.from_url(redis_server.url) as client:
        client.rpush(name, "x") if strange == "list" else client.set(name, "x", px=300)
        for text in ("a", "b"):
            assert shared.get("other", text) == "a"
        assert shared.get("k", "now") == "now"
        shared.loop.run_until_complete(shared.texts.invalidate("k"))
        assert shared.get("k", "later") == "later"
