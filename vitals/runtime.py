"""How the process itself fares: event-loop lag and what was built.

CPU, memory, file descriptors and garbage collection come from prometheus_client's own collectors,
by way of the metrics page.
"""

import asyncio
from contextlib import suppress
from time import perf_counter

from vitals.catalogue import BUILD_INFO, EVENT_LOOP_LAG, Build
from vitals.meter import Meter
from vitals.metric import NoLabels

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
