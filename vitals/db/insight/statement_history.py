"""Statement history: what statements have cost within the last minutes, not only since the start.

Cumulative figures are noted once a minute; a window is the difference of two of them. Bounded:
``MINUTES`` notes a minute apart, then ``HOURLY`` five minutes apart, each with the statements that
have a fingerprint of their own; figures that have not changed are shared.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from time import time
from typing import Any, NamedTuple, TypeVar

import anyio.to_thread

from vitals.db.statements.metrics_reader import StatementMetrics, read
from vitals.db.statements.statement_stats import CallStats, StatementStats
from vitals.metrics.meter import Meter

INTERVAL = 60.0
"""Seconds between two notes."""
MINUTES, HOURLY = 16, 10
"""Notes that are kept a minute apart, and five minutes apart before these."""
TASK_NAME = "vitals statement history"

_Key = tuple[str, str]
_Figures = tuple[float, ...]
_Row = tuple[int, float, int, int, _Figures]


_Same = TypeVar("_Same", bound=tuple[Any, ...])


class _Note(NamedTuple):
    taken: float
    metrics: dict[str, _Row]
    routes: dict[_Key, _Figures]
    slowest: dict[_Key, float]


class Window(NamedTuple):
    """What statements have cost since a moment.

    Attributes:
        since: The moment, in Unix seconds.
        metrics: Metrics by fingerprint, of all workers.
        stats: Statistics by route, of this process.
    """

    since: float
    metrics: dict[str, StatementMetrics]
    stats: list[tuple[str, CallStats]]


class StatementHistory:
    """Notes of the cumulative figures of one application.

    Args:
        meter: Metrics of all workers.
        statement_stats: Statistics of this process.
    """

    def __init__(self, meter: Meter, statement_stats: StatementStats) -> None:
        self._meter = meter
        self._stats = statement_stats
        self._started = time()
        self._notes: list[_Note] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take notes within this context."""
        task = asyncio.create_task(self._work(), name=TASK_NAME)
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _work(self) -> None:
        while True:
            try:
                # Adding up the figures of all workers takes some milliseconds.
                self.note(await anyio.to_thread.run_sync(read, self._meter))
            except Exception:  # noqa: BLE001  # the next minute tries again
                self._meter.dropped("statement_history")
            await asyncio.sleep(INTERVAL)

    def note(self, metrics: Mapping[str, StatementMetrics], now: float | None = None) -> None:
        """Note the figures as they are now.

        Args:
            metrics: Metrics by fingerprint, since the start.
            now: Unix seconds.
        """
        before = self._notes[-1] if self._notes else None
        known = before.metrics if before else {}
        figures: dict[str, _Row] = {}
        for fingerprint, one in metrics.items():
            row: _Row = (one.calls, one.seconds, one.failed, one.slow, tuple(one.buckets))
            figures[fingerprint] = _shared(row, known.get(fingerprint))
        routes: dict[_Key, _Figures] = {}
        slowest: dict[_Key, float] = {}
        known_routes = before.routes if before else {}
        for route, stats in self._stats:
            key = (stats.statement.fingerprint, route)
            line: _Figures = (
                stats.calls,
                stats.seconds,
                stats.slow,
                stats.failed,
                stats.n_plus_one,
            )
            routes[key] = _shared(line, known_routes.get(key))
            if recent := stats.take_slowest():
                slowest[key] = recent
        self._notes.append(_Note(time() if now is None else now, figures, routes, slowest))
        self._thin()

    def _thin(self) -> None:
        """Drop notes: of the older ones, only each fifth minute is kept."""
        old, recent = self._notes[:-MINUTES], self._notes[-MINUTES:]
        while len(old) > 1 and recent and self._merges(old, recent):
            pass
        self._notes = [*old[-HOURLY:], *recent]

    @staticmethod
    def _merges(old: list[_Note], recent: list[_Note]) -> bool:
        """Drop the newest of the older notes if it is nearer than five minutes to the one before.

        Its slowest calls pass to the one after it, whose interval then begins earlier.
        """
        if old[-1].taken - old[-2].taken >= 5 * INTERVAL - 1:
            return False
        dropped, after = old.pop(), recent[0]
        for key, seconds in dropped.slowest.items():
            after.slowest[key] = max(seconds, after.slowest.get(key, 0.0))
        return True

    def window(
        self,
        metrics: Mapping[str, StatementMetrics],
        seconds: float | None,
        now: float | None = None,
    ) -> Window:
        """What statements have cost within the last seconds, or since the start.

        It begins with the newest note that is as old as that, or with the oldest one.

        Args:
            metrics: Metrics by fingerprint, since the start.
            seconds: Length of the window; None for all since the start.
            now: Unix seconds.
        """
        moment = time() if now is None else now
        if seconds is None or not self._notes:
            stats = [(route, each.since_start()) for route, each in self._stats]
            return Window(self._started, dict(metrics), stats)
        old = [note for note in self._notes if note.taken <= moment - seconds + 1]
        base = old[-1] if old else self._notes[0]
        after = [note for note in self._notes if note.taken > base.taken]
        found = {
            fingerprint: each
            for fingerprint, one in metrics.items()
            if (each := _difference(one, base.metrics.get(fingerprint))).calls > 0
        }
        return Window(base.taken, found, list(self._recent(base, after)))

    def _recent(self, base: _Note, after: list[_Note]) -> Iterable[tuple[str, CallStats]]:
        for route, stats in self._stats:
            key = (stats.statement.fingerprint, route)
            calls, seconds, slow, failed, n_plus_one = base.routes.get(key, (0, 0.0, 0, 0, 0))
            if stats.calls <= calls:
                continue
            recent = CallStats(stats.statement)
            recent.calls, recent.seconds = int(stats.calls - calls), stats.seconds - seconds
            recent.slow, recent.failed = int(stats.slow - slow), int(stats.failed - failed)
            recent.n_plus_one = int(stats.n_plus_one - n_plus_one)
            recent.source = stats.source
            recent.slowest = max([stats.slowest, *(note.slowest.get(key, 0.0) for note in after)])
            yield route, recent


def _shared(figures: _Same, before: _Same | None) -> _Same:
    """The figures noted before if they are equal, which then take memory once."""
    return before if before is not None and before == figures else figures


def _difference(now: StatementMetrics, before: _Row | None) -> StatementMetrics:
    if before is None:
        return now
    calls, seconds, failed, slow, buckets = before
    return StatementMetrics(
        now.summary,
        now.calls - calls,
        max(0.0, now.seconds - seconds),
        now.failed - failed,
        max(0, now.slow - slow),
        [max(0.0, new - old) for new, old in zip(now.buckets, buckets, strict=True)],
        now.bounds,
    )
