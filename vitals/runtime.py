"""Metrics of the process: event-loop lag, CPU, memory, garbage collection, build information.

prometheus_client exports process metrics too, but only those of the worker that serves the scrape.
"""

import asyncio
import gc
import math
import os
import platform
import resource
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from vitals.host import Host
from vitals.metrics import worker_discovery
from vitals.metrics.catalogue import (
    BUILD_INFO,
    EVENT_LOOP_BLOCKED,
    EVENT_LOOP_CPU_WAIT,
    EVENT_LOOP_LAG,
    GC_COLLECTED,
    GC_COLLECTIONS,
    GC_UNCOLLECTABLE,
    PROCESS_CPU,
    PROCESS_MAX_FDS,
    PROCESS_MAX_VIRTUAL_MEMORY,
    PROCESS_OPEN_FDS,
    PROCESS_RESIDENT_MEMORY,
    PROCESS_START_TIME,
    PROCESS_THREADS,
    PROCESS_VIRTUAL_MEMORY,
    PYTHON_INFO,
    TARGET_INFO,
    WORKER_RESIDENT_MEMORY,
    WORKER_VIRTUAL_MEMORY,
    BuildLabels,
    GenerationLabels,
    PythonLabels,
    TargetLabels,
)
from vitals.metrics.declarations import Counter, NoLabels
from vitals.metrics.instruments import CounterChild
from vitals.metrics.meter import Meter
from vitals.metrics.process_identity import unix_start_time
from vitals.saturation.run_queue import RunQueue

LAG_INTERVAL = 0.1
"""Seconds between two measurements. Ten a second detect any block of 100 ms, for 0.01 % CPU."""


@dataclass(frozen=True)
class RuntimeProbe:
    """Measures the process and its event loop, and exports version and revision.

    Attributes:
        version: The application's version.
        revision: Its commit. Both let boards annotate deployments.
    """

    version: str
    revision: str

    def attach(self, host: Host) -> None:
        """Measure the process now, and the event loop while the application serves."""
        host.meter.gauge(BUILD_INFO).bind(BuildLabels(self.version, self.revision)).set(1)
        ProcessProbe(host.meter)
        lag, refresher = LagProbe(host.meter), Refresher(host.meter)

        @asynccontextmanager
        async def running() -> AsyncIterator[None]:
            lag.start()  # unless it has with the first connection: a lifespan may begin again
            planned = False
            try:
                yield
                planned = True
            finally:
                lag.stop()
                refresher.stop(planned=planned)

        host.at_start(lag.start)
        host.at_start(refresher.start)
        host.lifespan(running)


def record_target(meter: Meter, resource: Mapping[str, str]) -> None:
    """Export ``target_info``: the service as OpenTelemetry's resource identifies it.

    Args:
        meter: Where to record.
        resource: Attributes of the service.
    """
    labels = TargetLabels(
        *(resource.get(name.replace("_", "."), "") for name in TargetLabels._fields)
    )
    meter.gauge(TARGET_INFO).bind(labels).set(1)


class LagProbe:
    """Measures event-loop lag: the delay of a timer, and how much of it code on the loop causes.

    Args:
        meter: Where to record.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._lag = meter.histogram(EVENT_LOOP_LAG).bind(NoLabels())
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start on the running loop; does nothing without one, or if already started."""
        with suppress(RuntimeError):
            if self._task is None or self._task.done():
                loop = asyncio.get_running_loop()
                # A context of its own: it may start with a request, and belongs to none.
                self._task = loop.create_task(
                    self._measure(), name="vitals event-loop lag", context=Context()
                )

    def stop(self) -> None:
        """Stop the measurement."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _measure(self) -> None:
        queue = RunQueue()
        try:
            await self._measure_beside(queue)
        finally:
            queue.close()

    async def _measure_beside(self, queue: RunQueue) -> None:
        before = queue.waited()
        if before is None:  # nothing tells the machine's share from that of the code
            while True:
                self._lag.observe(await _delay())
        blocked = self._meter.histogram(EVENT_LOOP_BLOCKED).bind(NoLabels())
        cpu_wait = self._meter.counter(EVENT_LOOP_CPU_WAIT).bind(NoLabels())
        while True:
            lag = await _delay()
            after = queue.waited() or before
            self._lag.observe(lag)
            blocked.observe(max(0.0, lag - (after - before)))
            cpu_wait.inc(after - before)
            before = after


async def _delay() -> float:
    expected = perf_counter() + LAG_INTERVAL
    await asyncio.sleep(LAG_INTERVAL)
    return max(0.0, perf_counter() - expected)


class ProcessProbe:
    """Measures the process before each scrape.

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
        self._max_fds = meter.gauge(PROCESS_MAX_FDS).bind(none)
        self._worker_resident = meter.gauge(WORKER_RESIDENT_MEMORY)
        self._worker_virtual = meter.gauge(WORKER_VIRTUAL_MEMORY)
        self._max_virtual = meter.gauge(PROCESS_MAX_VIRTUAL_MEMORY)
        self._threads = meter.gauge(PROCESS_THREADS)
        self._gc_counters: list[tuple[str, int, CounterChild]] = [
            (name, number, meter.counter(metric).bind(GenerationLabels(str(number))))
            for name, metric in _GC_COUNTERS.items()
            for number in range(len(gc.get_stats()))
        ]
        parts = (platform.python_implementation(), *map(str, sys.version_info[:3]))
        meter.gauge(PYTHON_INFO).bind(PythonLabels(platform.python_version(), *parts)).set(1)
        meter.before_scrape(self.refresh)

    def refresh(self) -> None:
        """Measure now."""
        times = os.times()
        _advance_to(self._cpu, times.user + times.system)
        stats = gc.get_stats()
        for name, number, child in self._gc_counters:
            _advance_to(child, stats[number][name])
        self._max_fds.set(_limit(resource.RLIMIT_NOFILE))
        address_space = _limit(resource.RLIMIT_AS)
        if address_space < math.inf or self._max_virtual.children:
            self._max_virtual.bind(NoLabels()).set(address_space)
        if not self._start.value:
            # The server's: counters reset when it starts, not when a worker does.
            self._start.set(unix_start_time(worker_discovery.server_pid() or os.getpid()) or 0)
        with suppress(FileNotFoundError):  # no /proc on this system
            pages = Path("/proc/self/statm").read_bytes().split()
            virtual = int(pages[0]) * resource.getpagesize()
            self._virtual.set(virtual)
            self._worker_virtual.bind(NoLabels()).set(virtual)
            resident = int(pages[1]) * resource.getpagesize()
            self._resident.set(resident)
            self._worker_resident.bind(NoLabels()).set(resident)
            self._threads.bind(NoLabels()).set(Path("/proc/self/task").stat().st_nlink - 2)
            self._open.set(len(os.listdir("/proc/self/fd")) - 1)  # noqa: PTH208  # minus the descriptor of this listing


_GC_COUNTERS: dict[str, Counter[GenerationLabels]] = {
    "collections": GC_COLLECTIONS,
    "collected": GC_COLLECTED,
    "uncollectable": GC_UNCOLLECTABLE,
}
"""Counters by their key in ``gc.get_stats``."""


def _limit(which: int) -> float:
    """The soft limit of this process; infinite if there is none."""
    most = resource.getrlimit(which)[0]
    return math.inf if most == resource.RLIM_INFINITY else most


def _advance_to(child: CounterChild, to: float) -> None:
    child.inc(max(0.0, to - child.value))


REFRESH_INTERVAL = 1.0
"""How old a worker's gauges may be in a scrape that another worker serves."""


class Refresher:
    """Refreshes a worker's gauges on its event loop, for scrapes of other workers.

    Args:
        meter: The meter; does nothing if there are no other workers.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start on the running loop."""
        sharing = self._meter.sharing
        if sharing is not None:
            sharing.tick()
            if self._meter.shared:
                self._meter.refresh()
            self._next = asyncio.get_running_loop().call_later(REFRESH_INTERVAL, self.start)

    def stop(self, *, planned: bool = False) -> None:
        """Stop, after a last refresh: other workers outlive this one.

        Args:
            planned: Whether the server shuts down, rather than fails.
        """
        if self._next is not None:
            self._next.cancel()
            self._next = None
            self._meter.refresh()
        if planned and self._meter.sharing is not None:
            self._meter.sharing.leave()
