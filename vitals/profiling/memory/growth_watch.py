"""Growth watch: notices that the memory of this process grows without end, and looks what does.

A reading of the resident memory costs microseconds. Only while it grows steadily beyond all that
was before is there a look of some seconds, in a thread of its own and at most every ten minutes.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from time import perf_counter
from typing import Any

from vitals.log_events import EventLog
from vitals.metrics.catalogue import MEMORY_GROWTH, NOT_PYTHON, OTHER, GrowthLabels
from vitals.metrics.instruments import GaugeChild
from vitals.metrics.meter import Meter
from vitals.own_code import short_path
from vitals.profiling.memory.allocations import TracedAlreadyError
from vitals.profiling.memory.growth import BusyError, Growth, look
from vitals.profiling.memory.process_memory import read_memory
from vitals.saturation.run_queue import RunQueue

LOGGER = "vitals.memory"
INTERVAL = 10.0
"""Seconds between two readings."""
MAX_SITES = 20
"""Lines with series; further ones are ``__other__``."""
MAX_BLOCKS = 10_000
"""Traced blocks that end a look: to read them takes 4 ms."""
_READINGS, _LONG_STEP = 7, 60
"""Readings that must rise: for a minute, and, of each sixtieth one, for an hour."""
_MIN_BYTES, _MIN_SHARE = 16 << 20, 0.02
"""Growth within that time from which on it is told."""
_RISES, _FALLS = 4, 1
"""How many readings are at least higher than the one before, and how many may be lower: a step is
no growth, and memory is freed now and then."""
_PAUSE = 60
"""Intervals between two looks: ten minutes."""
_LASTS = 180
"""Intervals after which what a look has found is no longer told."""
_NAMED, _NAMED_SHARE = 3, 0.1
"""Lines of one look that are told, and their share of the growth."""


class Rise:
    """Whether readings rise steadily beyond the highest one before them."""

    def __init__(self) -> None:
        self._readings: deque[int] = deque()
        self._peak = 0

    def add(self, reading: int) -> bool:
        """Add a reading; returns whether they rise."""
        readings = self._readings
        readings.append(reading)
        if len(readings) <= _READINGS:
            return False
        self._peak = max(self._peak, readings.popleft())
        steps = [after - before for before, after in pairwise(readings)]
        if sum(step > 0 for step in steps) < _RISES or sum(step < 0 for step in steps) > _FALLS:
            return False
        least = max(_MIN_BYTES, _MIN_SHARE * readings[0])
        return reading - max(readings[0], self._peak) >= least


class GrowthWatch:
    """Watches the memory of the process; its ``look`` is called by the watchdog.

    Args:
        meter: Where to record.
        service_name: ``service.name`` in logs.
        interval: Seconds between two readings.
        logs: Whether log events are written.
    """

    def __init__(
        self, meter: Meter, service_name: str, interval: float, *, logs: Callable[[], bool]
    ) -> None:
        self._family, self._dropped = meter.gauge(MEMORY_GROWTH), meter.dropped
        self._log = EventLog(LOGGER, meter.dropped, service_name)
        self._logs = logs
        self._interval = interval
        self._minute, self._hour, self._count = Rise(), Rise(), 0
        self._known: dict[GrowthLabels, GaugeChild] = {}
        self._next = self._again = perf_counter()
        self._told_until = 0.0
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End a look that is taken."""
        self._stopped.set()

    def look(self, _own: RunQueue) -> float | None:
        """Read the memory, if it is time; returns when to look again, None where nothing tells."""
        now = perf_counter()
        if now < self._next:
            return self._next
        self._next = now + self._interval
        memory = read_memory()
        if memory is None or self._stopped.is_set():
            return None
        rises = self._minute.add(memory.private)
        if not self._count % _LONG_STEP:
            rises = self._hour.add(memory.private) or rises
        self._count += 1
        if rises and now >= self._again:
            self._again = now + _PAUSE * self._interval
            threading.Thread(target=self._take, name="vitals memory", daemon=True).start()
        elif self._told_until and now > self._told_until:
            self._told_until = 0.0
            self._clear()
        return self._next

    def _take(self) -> None:
        try:
            growth = look(min(self._interval, INTERVAL), self._stopped, MAX_BLOCKS, types=False)
            self._tell(growth)
        except (BusyError, TracedAlreadyError):
            pass  # somebody asks already; the host traces
        except Exception:  # noqa: BLE001  # whatever the host's objects are like
            self._dropped("memory_growth")

    def _tell(self, growth: Growth) -> None:
        """Record which lines grew, with bytes a second, in place of those of the look before."""
        seconds = max(growth.seconds, 1e-3)
        whole = max(1, sum(each.bytes for each in growth.sites) + growth.foreign_bytes)
        found: list[tuple[GrowthLabels, float, dict[str, Any]]] = [
            (
                GrowthLabels(each.line.site, each.type),
                each.bytes / seconds,
                {
                    "code.file.path": short_path(each.line.path),
                    "code.line.number": each.line.number,
                    "code.function.name": f"{each.line.module}.{each.line.function}",
                    "type": each.type or "unknown",
                },
            )
            for each in growth.sites[:_NAMED]
            if each.bytes >= _NAMED_SHARE * whole
        ]
        if growth.foreign_bytes >= _NAMED_SHARE * whole:
            found.append((GrowthLabels(NOT_PYTHON, ""), growth.foreign_bytes / seconds, {}))
        self._clear()
        self._told_until = perf_counter() + _LASTS * self._interval
        for labels, rate, _ in found:
            self._child(labels).inc(rate)
        if found and self._logs():
            self._write(*max(found, key=lambda each: each[1]))

    def _write(self, labels: GrowthLabels, rate: float, fields: dict[str, Any]) -> None:
        sentence = "by %(bytes_per_second)d bytes a second, which are not in Python's objects"
        if fields:
            sentence = (
                "by %(bytes_per_second)d bytes a second of %(type)s, allocated by "
                "%(code.file.path)s:%(code.line.number)s in %(code.function.name)s"
            )
        given = {"site": labels.site, "bytes_per_second": round(rate), **fields}
        self._log.write(logging.WARNING, "memory grows", sentence, given)

    def _child(self, labels: GrowthLabels) -> GaugeChild:
        if labels not in self._known:
            if len(self._known) >= MAX_SITES and labels.site != NOT_PYTHON:
                labels = GrowthLabels(OTHER, OTHER)
            self._known[labels] = self._family.bind(labels)
        return self._known[labels]

    def _clear(self) -> None:
        for child in self._known.values():
            child.set(0)
