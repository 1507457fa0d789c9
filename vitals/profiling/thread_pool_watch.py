"""Thread pool watch: how long tasks wait for a thread of anyio's pool, and what holds them."""

import asyncio
import sys
import threading
from collections import Counter
from time import perf_counter

import anyio.to_thread

from vitals.metrics.catalogue import THREAD_POOL_WAIT
from vitals.metrics.declarations import NoLabels
from vitals.metrics.meter import Meter
from vitals.profiling.block_report import BlockReport
from vitals.profiling.running_request import context_of_thread, request_of
from vitals.profiling.stacks import Line, read_stack
from vitals.saturation.run_queue import RunQueue

INTERVAL = 0.1
"""Seconds between two looks; a wait that is shorter may not be seen."""
_LATER = 0.2
"""Seconds until the next look, unless something else is looked at before, as loops are."""
_LOG_AFTER = 1.0
"""Seconds for which tasks must wait until that is logged."""


class ThreadPoolWatch:
    """Watches the default pool of the running loop; create it on the loop.

    Args:
        meter: Where to count.
        report: Reports the lines that hold threads.
    """

    def __init__(self, meter: Meter, report: BlockReport) -> None:
        self._loop = asyncio.get_running_loop()
        self._limiter = anyio.to_thread.current_default_thread_limiter()
        self._waited = meter.counter(THREAD_POOL_WAIT).bind(NoLabels())
        self._report = report
        self._last = perf_counter()
        self._since: float | None = None

    def look(self, _own: RunQueue) -> float | None:
        """Look now; returns when to look again, None if the loop is closed."""
        if self._loop.is_closed():
            return None
        now = perf_counter()
        seconds, limiter = now - self._last, self._limiter
        if seconds < INTERVAL:
            return now + _LATER
        self._last = now
        waiting = 0
        if limiter.borrowed_tokens >= limiter.total_tokens:
            waiting = limiter.statistics().tasks_waiting
        if not waiting:
            self._since = None
        elif self._since is None:
            self._since = now
        else:
            self._waited.inc(seconds * waiting)
            self._name_holders(seconds, waiting, now - self._since)
        return now + (INTERVAL if waiting else _LATER)

    def _name_holders(self, seconds: float, waiting: int, since: float) -> None:
        held: Counter[tuple[Line, str]] = Counter()
        own = threading.get_ident()
        for thread, frame in sys._current_frames().items():  # noqa: SLF001  # there is no other way
            context = None if thread == own else context_of_thread(frame)
            read = None if context is None else read_stack(frame)
            if read is not None:
                line, request = read[0].lines[0], request_of(context)
                held[line, self._report.route_of(request)] += 1
                self._report.held_thread(line, request, seconds)
        if held and since >= _LOG_AFTER:
            (line, http_route), threads = held.most_common(1)[0]
            self._report.exhausted(line, http_route, threads, waiting)
