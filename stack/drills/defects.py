"""Defects of a service, as context managers."""

import asyncio
import os
import resource
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from stack.drills.defective_interface import DefectiveService
from stack.drills.leaks import LEAKS

_BLOCK_SECONDS, _REST_SECONDS = 0.2, 0.4
_COLLECT_SECONDS = 0.6
_SERIES = 6000
_FILES, _OPEN = 256, 0.9


@asynccontextmanager
async def _hold_connections(service: DefectiveService) -> AsyncIterator[None]:
    async with AsyncExitStack() as held:
        for _ in range(service.pool):
            connection = await _connect_with_retries(service.engine)
            held.push_async_callback(connection.close)
        yield


async def _connect_with_retries(engine: AsyncEngine) -> AsyncConnection:
    """Get a connection; retry pool timeouts."""
    while True:
        with suppress(PoolTimeoutError):
            return await engine.connect()


@asynccontextmanager
async def _block_loop(_service: DefectiveService) -> AsyncIterator[None]:
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
async def _open_files(_service: DefectiveService) -> AsyncIterator[None]:
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, most))
    opened = [
        os.open(os.devnull, os.O_RDONLY) for _ in range(int(_FILES * _OPEN) - _open_files_count())
    ]
    try:
        yield
    finally:
        for number in opened:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


def _open_files_count() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


class _Collector(Collector):
    """A custom collector of the service, which prometheus_client calls at each scrape."""

    def __init__(self, collect: Callable[[], Iterator[GaugeMetricFamily]]) -> None:
        self._collect = collect

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Describe nothing, or prometheus_client would collect it at registration."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Collect."""
        return self._collect()


@asynccontextmanager
async def _collecting(collect: Callable[[], Iterator[GaugeMetricFamily]]) -> AsyncIterator[None]:
    collector = _Collector(collect)
    REGISTRY.register(collector)
    try:
        yield
    finally:
        REGISTRY.unregister(collector)


def _many_series() -> Iterator[GaugeMetricFamily]:
    family = GaugeMetricFamily("visits", "Visits by customer.", labels=["customer_id"])
    for number in range(_SERIES):
        family.add_metric([str(number)], 1)
    yield family


def _slow() -> Iterator[GaugeMetricFamily]:
    time.sleep(_COLLECT_SECONDS)
    yield from ()


def _failing() -> Iterator[GaugeMetricFamily]:
    raise RuntimeError("a collector that fails")


@asynccontextmanager
async def _empty_metrics(service: DefectiveService) -> AsyncIterator[None]:
    service.metrics_empty = True
    try:
        yield
    finally:
        service.metrics_empty = False


@asynccontextmanager
async def _disconnect_bus(service: DefectiveService) -> AsyncIterator[None]:
    cache = service.vitals.cache("product")
    cache.bus_connected(connected=False)
    try:
        yield
    finally:
        cache.bus_connected(connected=True)


DEFECTS: dict[str, Callable[[DefectiveService], AbstractAsyncContextManager[None]]] = {
    "connections": _hold_connections,
    "loop": _block_loop,
    "files": _open_files,
    "series": lambda _: _collecting(_many_series),
    "scrape": lambda _: _collecting(_slow),
    "collector": lambda _: _collecting(_failing),
    "empty": _empty_metrics,
    "bus": _disconnect_bus,
    **LEAKS,
}
"""By name in the URL."""
