"""Redis is used again soon after any trouble, on either event loop, by commands and by pub/sub.

Trouble comes to all servers of a kind: one server, a primary that a Sentinel names, a cluster.
"""

import asyncio
import itertools
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from redis import Redis as Client

from tests.proxy import Fault, Proxy
from tests.redis_groups import Cluster, SentinelGroup
from tests.servers import Redis
from tests.vitals.cache.caches import DEADLINE_SECONDS, PRODUCTION_TIMEOUT, Numbers, Process
from vitals.metrics.catalogue import CACHE_BREAKER_OPEN, CACHE_BUS_CONNECTED, CACHE_REQUESTS

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

SOON = 10.0
"""Seconds until Redis must be used again; 2 where nothing else is busy (``bench.cache``)."""
TROUBLE_SECONDS = 0.6
KEYS = [str(number) for number in range(12)]
TRIES = int(os.environ.get("VITALS_RECONNECT_TRIES", "48"))
AT_ONCE = 6
NAMES = (f"number{number}" for number in itertools.count())
"""Of namespaces: what a test leaves behind is not another one's."""


class Site:
    """A Redis topology: its URL and servers."""

    def __init__(self, url: str, servers: Sequence[Redis], close: Callable[[], None]) -> None:
        self.url = url
        self.servers = servers
        self.close = close

    @property
    def clients(self) -> list[Any]:
        """One for each server."""
        return [Client.from_url(server.url) for server in self.servers]


def _single() -> Site:
    server = Redis()
    return Site(server.url, [server], server.close)


def _sentinel() -> Site:
    watched = SentinelGroup()
    # Frozen or killed for so short a time, the primary must not be replaced: that is tested apart.
    with Client(port=watched.port) as sentinel:
        sentinel.execute_command("SENTINEL SET vitals down-after-milliseconds 60000")
    url = f"redis+sentinel://127.0.0.1:{watched.port}/vitals"
    return Site(url, [watched.master], watched.close)


def _cluster() -> Site:
    cluster = Cluster()
    return Site(f"redis+cluster://127.0.0.1:{cluster.port}", cluster.nodes, cluster.close)


@pytest.fixture(scope="module", params=[_single, _sentinel, _cluster])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    standing: Site = request.param()
    yield standing
    standing.close()


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@contextmanager
def refused(site: Site) -> Iterator[None]:
    for server in site.servers:
        server.kill()
    try:
        yield
    finally:
        for server in site.servers:
            server.start()


@contextmanager
def frozen(site: Site) -> Iterator[None]:
    for server in site.servers:
        server.pause()
    try:
        yield
    finally:
        for server in site.servers:
            server.resume()


@contextmanager
def crowded(site: Site) -> Iterator[None]:
    """Each server is at maxclients: it accepts, sends an error, and closes."""
    clients = site.clients
    for client in clients:
        client.ping()
        client.client_kill_filter(_type="normal", skipme=True)
        client.client_kill_filter(_type="pubsub")
        kept = client.info("clients")["connected_clients"]
        client.config_set("maxclients", max(kept, 1))
    try:
        yield
    finally:
        for client in clients:
            client.config_set("maxclients", 10_000)
            client.close()


@contextmanager
def forbidden(site: Site) -> Iterator[None]:
    """Each server refuses every command, on open and new connections."""
    clients = site.clients
    for client in clients:
        client.execute_command("ACL SETUSER default -@all +acl")
    try:
        yield
    finally:
        for client in clients:
            client.execute_command("ACL SETUSER default +@all")
            client.close()


TROUBLES = [refused, frozen, crowded, forbidden]


@pytest.fixture
async def process(site: Site, anyio_backend: object) -> AsyncIterator[Process]:
    started = Process(site.url, PRODUCTION_TIMEOUT, next(NAMES), l1_ttl=30)
    yield started
    await started.cache.close()


async def is_used(process: Process, numbers: Numbers) -> None:
    """Wait until Redis answers, the subscriber is connected and the circuit is closed."""
    async with asyncio.timeout(SOON):
        while (
            not await process.cache.ping()
            or not process.reads(CACHE_BUS_CONNECTED)
            or process.reads(CACHE_BREAKER_OPEN)
        ):
            await asyncio.sleep(0.02)
    before = process.reads(CACHE_REQUESTS, layer="l2", result="hit")
    async with asyncio.timeout(SOON):
        while process.reads(CACHE_REQUESTS, layer="l2", result="hit") == before:
            for key in KEYS:
                await numbers.read(process, key)
            process.cache._l1.reset(active=process.cache._l1.active)


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_redis_is_used_again_after(
    site: Site, process: Process, trouble: Callable[[Site], Any]
) -> None:
    numbers = Numbers()
    await process.cache.start()
    await is_used(process, numbers)
    with trouble(site):
        end = time.monotonic() + TROUBLE_SECONDS
        turned_away = 0
        while time.monotonic() < end or not process.reads(CACHE_BREAKER_OPEN):
            assert time.monotonic() < end + DEADLINE_SECONDS, (
                "callers are turned away, the circuit closed"
            )
            for key in KEYS:
                await numbers.write(process, key)
                await numbers.read(process, key)
            turned_away += 1
            await asyncio.sleep(0.01)
        assert turned_away
    await is_used(process, numbers)
    for key in KEYS:
        assert await numbers.read(process, key) == numbers.committed[key]


async def test_stalled_event_loop_leaves_redis_in_use(process: Process) -> None:
    chance, numbers = random.Random(3), Numbers()  # noqa: S311 - a test
    await process.cache.start()
    loop = asyncio.get_running_loop()
    for _ in range(20):
        # Longer than any timeout, at any moment of connecting and reading.
        loop.call_later(chance.uniform(0, 0.003), time.sleep, chance.uniform(0, 0.3))
        await asyncio.gather(*(numbers.read(process, key) for key in KEYS))
    await is_used(process, numbers)


async def test_reconnects_after_a_fault_at_any_moment_of_connecting(
    site: Site, anyio_backend: object
) -> None:
    """A cluster's and a Sentinel's servers are reached directly: the proxy is before the first."""
    port = int(site.url.partition("127.0.0.1:")[2].partition("/")[0])
    kind = site.url.partition("127.0.0.1")[0]
    service = site.url.partition(f":{port}")[2]
    chance = random.Random(5)  # noqa: S311 - a test

    async def try_once(number: int) -> None:
        async with Proxy.before(port) as proxy:
            numbers, url = Numbers(), f"{kind}127.0.0.1:{proxy.port}{service}"
            process = Process(url, PRODUCTION_TIMEOUT, next(NAMES), l1_ttl=30)
            cut = asyncio.create_task(_cut(proxy, number, chance))
            await process.cache.start()
            await numbers.read(process, "1")
            await cut
            proxy.clear()
            try:
                await is_used(process, numbers)
            finally:
                await process.cache.close()

    for first in range(0, TRIES, AT_ONCE):
        async with asyncio.timeout(DEADLINE_SECONDS):
            await asyncio.gather(*(try_once(first + number) for number in range(AT_ONCE)))


async def _cut(proxy: Proxy, number: int, chance: random.Random) -> None:
    """Inject a fault into a new connection after some loop iterations, or some milliseconds."""
    fault = (Fault.DROP, Fault.HALF_OPEN, Fault.TRUNCATE, Fault.RESPONSE_LOST)[number % 4]
    if fault is Fault.TRUNCATE:
        proxy.inject(fault, size=number % 60)
    for _ in range(number % 30):
        await asyncio.sleep(0)
    await asyncio.sleep(chance.uniform(0, 0.02))
    proxy.inject(fault, size=number % 60)
    await asyncio.sleep(chance.uniform(0, 0.3))
