"""Statement costs: seconds of the costliest statements of each route, and the line that sends each.

Read from the statistics before each scrape, so a query pays nothing for them. Bounded: the first
``MAX_PAIRS`` pairs of route and statement that took ``MIN_SECONDS`` in all, or were an N+1, have a
series of their own; further ones share ``__other__``.
"""

from threading import Lock

from vitals.db.statements.statement_stats import CallStats, StatementStats
from vitals.metrics.catalogue import DB_STATEMENT_SECONDS, OTHER, RouteStatementLabels
from vitals.metrics.meter import Meter

MAX_PAIRS = 100
MIN_SECONDS = 1.0
"""Seconds of all its calls below which no alert needs a statement's line."""


class StatementCosts:
    """Counts the seconds of statements by route.

    Args:
        meter: Where to record.
        statement_stats: Statistics by statement and route.
    """

    def __init__(self, meter: Meter, statement_stats: StatementStats) -> None:
        self._seconds = meter.counter(DB_STATEMENT_SECONDS)
        self._stats = statement_stats
        self._counted: dict[tuple[str, str], float] = {}
        self._sites: dict[tuple[str, str], str] = {}
        self._lock = Lock()

    def refresh(self) -> None:
        """Count what was added to the statistics since the last time."""
        with self._lock:
            pairs = [
                (route, stats)
                for route, stats in self._stats
                if stats.seconds >= MIN_SECONDS or stats.n_plus_one
            ]
            for route, stats in sorted(pairs, key=lambda pair: -pair[1].seconds):
                self._count(route, stats)

    def _count(self, route: str, stats: CallStats) -> None:
        pair, seconds = (route, stats.statement.fingerprint), stats.seconds
        added = seconds - self._counted.get(pair, 0.0)
        if pair in self._sites or len(self._sites) < MAX_PAIRS:
            # The first line stays: with another one, the series would be another one.
            site = self._sites[pair] = self._sites.get(pair) or stats.source
            labels = RouteStatementLabels(
                route, stats.statement.summary, stats.statement.fingerprint, site
            )
        else:
            labels = RouteStatementLabels(OTHER, OTHER, OTHER, OTHER)
        self._counted[pair] = seconds
        if added > 0:
            self._seconds.bind(labels).inc(added)
