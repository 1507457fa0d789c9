"""A cache as one process of several has it, and a database that tests look into."""

import asyncio
import random
from collections.abc import Iterable
from typing import Any
from zlib import crc32

from redis import Redis as Client

from service.cache.cache import TIMEOUT_SECONDS, Cache
from service.cache.core.namespace import Namespace
from vitals.cache_metrics import CacheReporter
from vitals.metrics.declarations import AnyMetric
from vitals.metrics.endpoint import MetricsEndpoint
from vitals.metrics.meter import Meter
from vitals.testing import Readings

HASTY = TIMEOUT_SECONDS
"""Seconds to wait for Redis, as in production."""
CALM = 10.0
"""So long that a busy machine is no trouble."""
CONNECTIONS = 2
"""At most, of one process: the one in use, and one that is being opened or closed."""
PATIENT = 45.0
"""Seconds until a test gives up waiting for what must come."""


class Process:
    """Its own connections, breaker, flights and figures."""

    def __init__(
        self, url: str, timeout: float = CALM, name: str = "number", *, near: float = 0
    ) -> None:
        self.meter = Meter()
        self.cache = Cache.connect(url, timeout=timeout)
        self.numbers: Namespace[int] = self.cache.namespace(
            name, type=int, ttl=60, l1=near, report=CacheReporter(self.meter, name)
        )

    def reads(self, metric: AnyMetric, **labels: str) -> float:
        """A figure of its metrics page, 0 without one."""
        page = MetricsEndpoint(self.meter).render(as_openmetrics=True, gzipped=False)
        return Readings.parse(page.decode()).value(metric, **labels)

    async def recovered(self, within: float = PATIENT) -> None:
        """Wait until look-ups are answered by Redis again."""
        async with asyncio.timeout(within):
            while not await self.cache.ping():
                await asyncio.sleep(0.02)


class Source:
    """A value that tests change and loads read, with a moment in between if they want one."""

    def __init__(self) -> None:
        self.value = 1
        self.loads = 0
        self.go = asyncio.Event()
        self.go.set()
        self.begun = asyncio.Event()

    async def load(self) -> int:
        """Read the value, and return it when told to go on."""
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
    """A database of numbers that only grow, and what a reader is owed.

    ``floor`` of a key is its newest number whose invalidation was awaited: nobody who asks later
    may get less.
    """

    def __init__(self, seed: int = 1) -> None:
        self.committed: dict[str, int] = _Begun()
        self.floor: dict[str, int] = _Begun()
        self.loads = 0
        self.chance = random.Random(seed)  # noqa: S311 - a test

    async def read(self, process: Process, key: str) -> int:
        """Read through the cache; fails if what comes is older than it may be."""
        floor = self.floor[key]
        got = await self.read_any(process, key)
        assert floor <= got, (key, floor, got)
        return got

    async def read_any(self, process: Process, key: str) -> int:
        """Read through the cache; fails if what comes never was."""

        async def load() -> int:
            self.loads += 1
            found = self.committed[key]
            await asyncio.sleep(self.chance.choice((0, 0, 0.002)))
            return found

        got = await process.numbers.get_or_load(key, load, tags=(parity(key),))
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
        """Commit several of one parity, and invalidate their tag."""
        now = {}
        for key in keys:
            self.committed[key] += 1
            now[key] = self.committed[key]
        await process.cache.invalidate(*{process.cache.tag(parity(key)) for key in now})
        for key, number in now.items():
            self.floor[key] = max(number, self.floor[key])


def parity(key: str) -> str:
    """The tag of a key."""
    return ("even", "odd")[crc32(key.encode()) % 2]


def begin(key: str) -> int:
    """The first number of a key: far apart, so that no other key's can be taken for it."""
    return crc32(key.encode()) * 1_000_000


def clients_of(port: int) -> int:
    """How many clients Redis has beside the one that asks."""
    client: Any
    with Client(port=port) as client:
        return int(client.info("clients")["connected_clients"]) - 1
