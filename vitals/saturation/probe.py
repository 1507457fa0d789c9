"""Saturation probe: how much of each limited resource is used, read before each scrape.

What the platform does not tell has no series, so that "unknown" is never shown as zero.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread
from anyio import CapacityLimiter

from vitals.host import Host
from vitals.metrics.catalogue import (
    CGROUP_CPU_LIMIT,
    CGROUP_PERIODS,
    CGROUP_TASKS,
    CGROUP_TASKS_LIMIT,
    CGROUP_THROTTLED,
    CGROUP_THROTTLED_PERIODS,
    FILESYSTEM_LIMIT,
    FILESYSTEM_USAGE,
    SYSTEM_MEMORY_LIMIT,
    SYSTEM_MEMORY_USAGE,
    SYSTEM_PRESSURE,
    THREAD_POOL_LIMIT,
    THREAD_POOL_USED,
    THREAD_POOL_WAITING,
    FolderLabels,
    PressureLabels,
    ScopeLabels,
)
from vitals.metrics.declarations import Counter, Gauge, Labels, NoLabels
from vitals.metrics.meter import Meter
from vitals.saturation import disk, machine
from vitals.saturation.cgroup import ROOT, Cgroup, Usage
from vitals.saturation.disk import Folders

HOST, CGROUP = "host", "cgroup"


@dataclass(frozen=True)
class SaturationProbe:
    """Measures the machine, the control group, disks, and anyio's pool of threads.

    Attributes:
        folders: Folders whose file systems are measured, by name; None for those that the
            environment names, see ``vitals.saturation.disk``.
    """

    folders: Folders | None = None

    def attach(self, host: Host) -> None:
        """Measure before each scrape."""
        threads = ThreadPool(host.meter)
        host.at_start(threads.find)
        host.meter.before_scrape(threads.refresh)
        limits = Limits(host.meter)
        host.meter.before_scrape(_beside_the_loop(limits.refresh))
        disks = Disks(host.meter, disk.folders(self.folders))
        host.meter.before_scrape(_beside_the_loop(disks.refresh))


def _beside_the_loop(refresh: Callable[[], None]) -> Callable[[], None]:
    """Do it in the thread of a scrape only.

    A worker also refreshes on its loop for scrapes of other workers; those see the same machine.
    """

    def refresh_unless_on_a_loop() -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            refresh()

    return refresh_unless_on_a_loop


class ThreadPool:
    """Use of anyio's default pool of threads, in which endpoints without ``async`` run.

    Args:
        meter: Where to record.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._limiter: CapacityLimiter | None = None

    def find(self) -> None:
        """Find the pool of the running loop."""
        self._limiter = anyio.to_thread.current_default_thread_limiter()

    def refresh(self) -> None:
        """Measure now."""
        if self._limiter is not None:
            none, now = NoLabels(), self._limiter.statistics()
            self._meter.gauge(THREAD_POOL_USED).bind(none).set(now.borrowed_tokens)
            self._meter.gauge(THREAD_POOL_LIMIT).bind(none).set(now.total_tokens)
            self._meter.gauge(THREAD_POOL_WAITING).bind(none).set(now.tasks_waiting)


class Disks:
    """Space on the file systems of folders.

    Args:
        meter: Where to record.
        folders: The folders by name.
    """

    def __init__(self, meter: Meter, folders: Mapping[str, Path]) -> None:
        self._meter = meter
        self._folders = folders

    def refresh(self) -> None:
        """Measure now."""
        for name, folder in self._folders.items():
            if usage := disk.usage(folder):
                labels = FolderLabels(name)
                self._meter.gauge(FILESYSTEM_USAGE).bind(labels).set(usage.used)
                self._meter.gauge(FILESYSTEM_LIMIT).bind(labels).set(usage.limit)


class Limits:
    """Limits and use of the machine and the control group.

    Args:
        meter: Where to record.
        root: The folder with ``proc`` and ``sys``.
    """

    def __init__(self, meter: Meter, root: Path = ROOT) -> None:
        self._meter = meter
        self._root = root

    def refresh(self) -> None:
        """Measure now."""
        cgroup = Cgroup.of_this_process(self._root)
        machine_memory = machine.memory(self._root)
        self._memory(HOST, machine_memory)
        group = cgroup.memory()
        if group and machine_memory and group.limit >= machine_memory.limit:
            group = None  # a limit that the machine does not have is none
        self._memory(CGROUP, group)
        if tasks := cgroup.tasks():
            self._set(CGROUP_TASKS, NoLabels(), tasks.used)
            self._set(CGROUP_TASKS_LIMIT, NoLabels(), tasks.limit)
        if cores := cgroup.cores():
            self._set(CGROUP_CPU_LIMIT, NoLabels(), cores)
        if throttling := cgroup.throttling():
            self._advance(CGROUP_PERIODS, NoLabels(), throttling.periods)
            self._advance(CGROUP_THROTTLED_PERIODS, NoLabels(), throttling.throttled)
            self._advance(CGROUP_THROTTLED, NoLabels(), throttling.seconds)
        for resource in machine.RESOURCES:
            files: Mapping[str, Path | None] = {
                HOST: machine.pressure_file(resource, self._root),
                CGROUP: cgroup.pressure(resource),
            }
            for scope, file in files.items():
                seconds = None if file is None else machine.stalled(file)
                if seconds is not None:
                    self._advance(SYSTEM_PRESSURE, PressureLabels(scope, resource), seconds)

    def _memory(self, scope: str, usage: Usage | None) -> None:
        if usage is not None:
            self._set(SYSTEM_MEMORY_USAGE, ScopeLabels(scope), usage.used)
            self._set(SYSTEM_MEMORY_LIMIT, ScopeLabels(scope), usage.limit)

    def _set(self, metric: Gauge[Labels], labels: Labels, value: float) -> None:
        self._meter.gauge(metric).bind(labels).set(value)

    def _advance(self, metric: Counter[Labels], labels: Labels, to: float) -> None:
        child = self._meter.counter(metric).bind(labels)
        child.inc(max(0.0, to - child.value))
