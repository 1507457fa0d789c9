"""How the process itself fares: event-loop lag, CPU, memory, garbage collection, what was built.

prometheus_client measures the process too, but only the one that answers, and of several workers
every scrape would show another.
"""

import asyncio
import gc
import os
import platform
import resource
import sys
from contextlib import suppress
from pathlib import Path
from time import perf_counter

from vitals.metrics import worker_discovery
from vitals.metrics.catalogue import (
    BUILD_INFO,
    EVENT_LOOP_LAG,
    GC_COLLECTED,
    GC_COLLECTIONS,
    GC_UNCOLLECTABLE,
    PROCESS_CPU,
    PROCESS_MAX_FDS,
    PROCESS_OPEN_FDS,
    PROCESS_RESIDENT_MEMORY,
    PROCESS_START_TIME,
    PROCESS_VIRTUAL_MEMORY,
    PYTHON_INFO,
    Build,
    Generation,
    Python,
)
from vitals.metrics.declarations import Counter, NoLabels
from vitals.metrics.instruments import CounterChild
from vitals.metrics.meter import Meter
from vitals.metrics.process_identity import unix_start_time

EVERY = 0.1
"""Seconds between two looks at the loop. Ten a second see any block of 100 ms, for 0.01 % CPU."""


def record_build(meter: Meter, *, version: str, revision: str) -> None:
    """Say what runs, so that a board can mark a deployment."""
    meter.gauge(BUILD_INFO).bind(Build(version, revision)).set(1)


class LagProbe:
    """Measures how late the event loop wakes a sleeper.

    Args:
        meter: Where to record.
    """

    def __init__(self, meter: Meter) -> None:
        self._lag = meter.histogram(EVENT_LOOP_LAG).bind(NoLabels())
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin on the running loop; without one, or when begun already, nothing happens."""
        with suppress(RuntimeError):
            if self._task is None or self._task.done():
                loop = asyncio.get_running_loop()
                self._task = loop.create_task(self._watch(), name="vitals event-loop lag")

    def stop(self) -> None:
        """End the measurement."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _watch(self) -> None:
        while True:
            expected = perf_counter() + EVERY
            await asyncio.sleep(EVERY)
            self._lag.observe(max(0.0, perf_counter() - expected))


class ProcessProbe:
    """Measures the process whenever it is asked to.

    Args:
        meter: Where to record.
    """

    def __init__(self, meter: Meter) -> None:
        none = NoLabels()
        self._cpu = meter.counter(PROCESS_CPU).bind(none)
        self._start = meter.gauge(PROCESS_START_TIME).bind(none)
        self._resident = meter.gauge(PROCESS_RESIDENT_MEMORY).bind(none)
        self._virtual = meter.gauge(PROCESS_VIRTUAL_MEMORY).bind(none)
        self._open = meter.gauge(PROCESS_OPEN_FDS).bind(none)
        self._most = meter.gauge(PROCESS_MAX_FDS).bind(none)
        self._collections: list[tuple[str, int, CounterChild]] = [
            (said, number, meter.counter(metric).bind(Generation(str(number))))
            for said, metric in _COLLECTIONS.items()
            for number in range(len(gc.get_stats()))
        ]
        parts = (platform.python_implementation(), *map(str, sys.version_info[:3]))
        meter.gauge(PYTHON_INFO).bind(Python(platform.python_version(), *parts)).set(1)
        meter.before_scrape(self.refresh)

    def refresh(self) -> None:
        """Measure now."""
        times = os.times()
        _rise(self._cpu, times.user + times.system)
        stats = gc.get_stats()
        for said, number, child in self._collections:
            _rise(child, stats[number][said])
        self._most.set(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        if not self._start.value:
            # The server's: its figures go back to 0 when it starts, not when a worker does.
            self._start.set(unix_start_time(worker_discovery.server_pid() or os.getpid()) or 0)
        with suppress(FileNotFoundError):  # no /proc on this system
            pages = Path("/proc/self/statm").read_bytes().split()
            self._virtual.set(int(pages[0]) * resource.getpagesize())
            self._resident.set(int(pages[1]) * resource.getpagesize())
            self._open.set(len(os.listdir("/proc/self/fd")) - 1)  # noqa: PTH208  # without the one that lists


_COLLECTIONS: dict[str, Counter[Generation]] = {
    "collections": GC_COLLECTIONS,
    "collected": GC_COLLECTED,
    "uncollectable": GC_UNCOLLECTABLE,
}
"""What counts by what ``gc.get_stats`` calls it."""


def _rise(child: CounterChild, to: float) -> None:
    child.inc(max(0.0, to - child.value))


REFRESH_SECONDS = 1.0
"""How old the gauges of a worker may be on a page that another one answers."""


class Refresher:
    """Refreshes a worker's gauges on its loop, so that the other workers' pages show them.

    Args:
        meter: Whose gauges; nothing happens while it is alone.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin on the running loop."""
        if self._meter.shared:
            self._meter.refresh()
            self._next = asyncio.get_running_loop().call_later(REFRESH_SECONDS, self.start)

    def stop(self) -> None:
        """End it; what waits to be counted is counted, for the others outlive this worker."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
            self._meter.refresh()
