"""What can be wrong with a service, each for as long as its context lasts."""

import asyncio
import os
import resource
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from vitals import Vitals

_BLOCK_SECONDS, _REST_SECONDS = 0.2, 0.4
_COLLECT_SECONDS = 0.6
_SERIES = 6000
_FILES, _OPEN = 256, 0.9


class Defective(Protocol):
    """What a service shows of itself to be broken.

    Attributes:
        engine: Its database.
        pool: How many connections it has.
        vitals: What it is measured by.
        is_mute: Whether its metrics page is empty.
    """

    engine: AsyncEngine
    pool: int
    vitals: Vitals
    is_mute: bool


@asynccontextmanager
async def _hold_connections(service: Defective) -> AsyncIterator[None]:
    async with AsyncExitStack() as held:
        for _ in range(service.pool):
            connection = await _patiently(service.engine)
            held.push_async_callback(connection.close)
        yield


async def _patiently(engine: AsyncEngine) -> AsyncConnection:
    """A connection, however many requests wait for one as well."""
    while True:
        with suppress(PoolTimeoutError):
            return await engine.connect()


@asynccontextmanager
async def _block_loop(_service: Defective) -> AsyncIterator[None]:
    async def block() -> None:
        while True:
            time.sleep(_BLOCK_SECONDS)  # noqa: ASYNC251 - the defect
            await asyncio.sleep(_REST_SECONDS)

    task = asyncio.create_task(block())
    try:
        yield
    finally:
        task.cancel()


@asynccontextmanager
async def _open_files(_service: Defective) -> AsyncIterator[None]:
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, most))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(int(_FILES * _OPEN) - _held())]
    try:
        yield
    finally:
        for number in opened:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


def _held() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


class _Collects(Collector):
    """A collector of the service's own, as prometheus_client asks it at each scrape."""

    def __init__(self, collect: Callable[[], Iterator[GaugeMetricFamily]]) -> None:
        self._collect = collect

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing, or it would be collected in order to be known."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What it has to say."""
        return self._collect()


@asynccontextmanager
async def _collecting(collect: Callable[[], Iterator[GaugeMetricFamily]]) -> AsyncIterator[None]:
    collector = _Collects(collect)
    REGISTRY.register(collector)
    try:
        yield
    finally:
        REGISTRY.unregister(collector)


def _many() -> Iterator[GaugeMetricFamily]:
    family = GaugeMetricFamily("visits", "Visits by customer.", labels=["customer_id"])
    for number in range(_SERIES):
        family.add_metric([str(number)], 1)
    yield family


def _late() -> Iterator[GaugeMetricFamily]:
    time.sleep(_COLLECT_SECONDS)
    yield from ()


def _fails() -> Iterator[GaugeMetricFamily]:
    raise RuntimeError("a collector that fails")


@asynccontextmanager
async def _say_nothing(service: Defective) -> AsyncIterator[None]:
    service.is_mute = True
    try:
        yield
    finally:
        service.is_mute = False


@asynccontextmanager
async def _leave_the_bus(service: Defective) -> AsyncIterator[None]:
    cache = service.vitals.cache("product")
    cache.bus_connected(connected=False)
    try:
        yield
    finally:
        cache.bus_connected(connected=True)


DEFECTS: dict[str, Callable[[Defective], AbstractAsyncContextManager[None]]] = {
    "connections": _hold_connections,
    "loop": _block_loop,
    "files": _open_files,
    "series": lambda _: _collecting(_many),
    "scrape": lambda _: _collecting(_late),
    "collector": lambda _: _collecting(_fails),
    "mute": _say_nothing,
    "bus": _leave_the_bus,
}
"""By the name that begins and ends them."""
