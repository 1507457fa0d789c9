"""Profiling probe: which lines hold the event loop, and the threads of anyio's pool."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from vitals.host import Host
from vitals.profiling.block_report import BlockReport
from vitals.profiling.thread_pool_watch import ThreadPoolWatch
from vitals.profiling.watchdog import WATCHDOG, watch_running_loop

THRESHOLD = 0.05
MIN_THRESHOLD = 0.02
"""Seconds; below it, how Python switches threads cannot be told from a block."""


@dataclass(frozen=True)
class ProfilingProbe:
    """Names the lines that hold the event loop while the application serves.

    Attributes:
        threshold: Seconds for which the loop may not turn.

    Raises:
        ValueError: The threshold is too short.
    """

    threshold: float = THRESHOLD

    def __post_init__(self) -> None:
        if not self.threshold >= MIN_THRESHOLD:
            raise ValueError(f"block_threshold {self.threshold} must be {MIN_THRESHOLD} or more")

    def attach(self, host: Host) -> None:
        """Watch from the first connection on, until the lifespan ends."""
        report = BlockReport(host.meter, host.routes, host.service_name, logs=lambda: host.logs)
        ends: list[Callable[[], None]] = []

        def start() -> None:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                return  # no asyncio
            if not ends:
                dropped = host.meter.dropped
                ends.append(watch_running_loop(self.threshold, report, dropped))
                threads = ThreadPoolWatch(host.meter, report)
                WATCHDOG.add(threads, dropped)
                ends.append(lambda: WATCHDOG.remove(threads))

        @asynccontextmanager
        async def running() -> AsyncIterator[None]:
            start()  # unless it has with the first connection: a lifespan may begin again
            try:
                yield
            finally:
                while ends:
                    ends.pop()()

        host.at_start(start)
        host.lifespan(running)
        host.on_finished(report.finished)
