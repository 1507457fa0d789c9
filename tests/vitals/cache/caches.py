"""Test fixtures: one process's cache, and a database of growing numbers."""

import asyncio
import random
from collections.abc import Iterable
from typing import Any
from zlib import crc32

from redis import Redis as Client

from vitals.cache.cache import TIMEOUT_SECONDS, Cache
from vitals.cache.core.namespace import Namespace
from vitals.cache.reporter import CacheReporter
from vitals.metrics.declarations import AnyMetric
from vitals.metrics.endpoint import MetricsEndpoint
from vitals.metrics.meter import Meter
from vitals.testing import Readings

PRODUCTION_TIMEOUT = TIMEOUT_SECONDS
"""Redis timeout, as in production."""
LONG_TIMEOUT = 10.0
"""Redis timeout that a busy machine does not exceed."""
CONNECTIONS = 2
"""Most connections of one process: the one in use, and one that is being opened or closed."""
DEADLINE_SECONDS = 45.0
"""Seconds until a test gives up waiting."""


class Process:
    """A process's cache, with its own connections, breaker, single flight and metrics."""

    def __init__(
        self, url: str, timeout: float = LONG_TIMEOUT, name: str = "number", *, l1_ttl: float = 0
    ) -> None:
        self.meter = Meter()
        self.cache = Cache(url, timeout=timeout)
        self.numbers: Namespace[int] = self.cache.namespace(
            name, schema=int, ttl=60, l1_ttl=l1_ttl, reporter=CacheReporter(self.meter, name)
        )

    def reads(self, metric: AnyMetric, suffix: str = "", /, **labels: str) -> float:
        """Return the value of one of its metrics, 0 without one."""
        page = MetricsEndpoint(self.meter).render(as_openmetrics=True, gzipped=False)
        return Readings.parse(page.decode()).value(metric, suffix, **labels)

    async def recovered(self, within: float = DEADLINE_SECONDS) -> None:
        """Wait until lookups use Redis again."""
        async with asyncio.timeout(within):
            while not await self.cache.ping():
                await asyncio.sleep(0.02)


class Source:
    """A value that tests change and loads read; a load can be paused after its read."""

    def __init__(self) -> None:
        self.value = 1
        self.loads = 0
        self.go = asyncio.Event()
        self.go.set()
        self.begun = asyncio.Event()

    async def load(self) -> int:
        """Read the value, and return it once ``go`` is set."""
        self.loads += 1
        value = self.value
        self.begun.set()
        await self.go.wait()
        return value


class _Begun(dict[str, int]):
    def __missing__(self, key: str) -> int:
        self[key] = begin(key)
        return self[key]


class Numbers:
    """A database of numbers that only grow, with the least value that a reader may get.

    ``floor`` of a key is its newest number whose invalidation was awaited: a later read may not
    return less.
    """

    def __init__(self, seed: int = 1) -> None:
        self.committed: dict[str, int] = _Begun()
        self.floor: dict[str, int] = _Begun()
        self.loads = 0
        self.chance = random.Random(seed)  # noqa: S311 - a test

    async def read(self, process: Process, key: str) -> int:
        """Read through the cache; fail if the value is stale."""
        floor = self.floor[key]
        got = await self.read_any(process, key)
        assert floor <= got, (key, floor, got)
        return got

    async def read_any(self, process: Process, key: str) -> int:
        """Read through the cache; fail if the value was never committed."""

        async def load() -> int:
            self.loads += 1
            found = self.committed[key]
            await asyncio.sleep(self.chance.choice((0, 0, 0.002)))
            return found

        got = await process.numbers.get(key, load, tags=(parity(key),))
        assert got is not None
        assert begin(key) <= got <= self.committed[key], (key, got, self.committed[key])
        return got

    async def write(self, process: Process, key: str) -> None:
        """Commit, then invalidate."""
        self.committed[key] += 1
        now = self.committed[key]
        await process.numbers.invalidate(key)
        self.floor[key] = max(now, self.floor[key])

    async def write_tagged(self, process: Process, keys: Iterable[str]) -> None:
        """Commit several keys, and invalidate their tags."""
        now = {}
        for key in keys:
            self.committed[key] += 1
            now[key] = self.committed[key]
        await process.cache.invalidate(*{process.cache.tag(parity(key)) for key in now})
        for key, number in now.items():
            self.floor[key] = max(number, self.floor[key])


def parity(key: str) -> str:
    """Return the tag of a key."""
    return ("even", "odd")[crc32(key.encode()) % 2]


def begin(key: str) -> int:
    """Return the first number of a key: far apart, so that keys cannot be confused."""
    return crc32(key.encode()) * 1_000_000


def clients_of(port: int) -> int:
    """Return the number of Redis's clients, without the one used here."""
    client: Any
    with Client(port=port) as client:
        return int(client.info("clients")["connected_clients"]) - 1
