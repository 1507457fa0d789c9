"""What each statement has cost since the start, by route: where the time goes.

Bounded: statements by the fingerprints' slots, routes by ``ROUTES`` each.
"""

from collections.abc import Iterator
from threading import RLock
from typing import Any

from vitals.db.statements.fingerprint import Statement
from vitals.db.statements.n_plus_one import Watch
from vitals.metrics.catalogue import OTHER

ROUTES = 25
"""Routes kept apart per statement; further ones share ``__other__``."""

LOOKS = 5
"""Calls of a statement whose line is sought for each route: a look costs as much as ten calls, and
a call of another route may take it."""


class Tally:
    """The calls of one statement: in one request, or of one route.

    Attributes:
        statement: The statement.
        calls: How many.
        seconds: Their time together.
        slowest: The longest of them, in seconds.
        slow: How many broke the objective.
        failed: How many failed.
        repeated: Requests that sent it once a row.
        source: The line of the application that sent it lately; empty while unknown.
        looks: How often a line was sought for this route.
        watch: Looks out for N+1, within one request.
    """

    __slots__ = (
        "calls",
        "failed",
        "looks",
        "repeated",
        "seconds",
        "slow",
        "slowest",
        "source",
        "statement",
        "watch",
    )

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        self.calls = self.slow = self.failed = self.repeated = 0
        self.seconds = self.slowest = 0.0
        self.source = ""
        self.looks = 0
        self.watch: Watch | None = None

    def look(self, sql: str, parameters: Any, context: Any) -> None:
        """Look out for N+1, at each call of a request but the first."""
        watch = self.watch
        if watch is None:
            watch = self.watch = Watch()
        if not watch.over:
            watch.look(sql, parameters, context)

    def count(self, seconds: float) -> None:
        """Take in one call."""
        self.calls += 1
        self.seconds += seconds
        if seconds > self.slowest:  # noqa: PLR1730  # a third of the time of max()
            self.slowest = seconds

    def add(self, other: "Tally") -> None:
        """Take in the figures of another."""
        self.calls += other.calls
        self.seconds += other.seconds
        if other.slow or other.failed or other.repeated:
            self.slow += other.slow
            self.failed += other.failed
            self.repeated += other.repeated
        if other.slowest > self.slowest:  # noqa: PLR1730  # a third of the time of max()
            self.slowest = other.slowest
        if other.source:
            self.source = other.source


class Ledger:
    """Tallies by statement and route; safe to share between threads."""

    def __init__(self) -> None:
        self._tallies: dict[str, dict[str, Tally]] = {}
        self._lock = RLock()  # the garbage collector may send a statement meanwhile

    def of(self, route: str, statement: Statement) -> Tally:
        """The tally of a statement; the empty route is whatever no request caused."""
        try:
            return self._tallies[statement.fingerprint][route]
        except KeyError:
            return self._begin(route, statement)

    def routes(self, statement: Statement) -> dict[str, Tally]:
        """Its tallies by route, as they come; only to be read."""
        self.of("", statement)
        return self._tallies[statement.fingerprint]

    def _begin(self, route: str, statement: Statement) -> Tally:
        with self._lock:
            routes = self._tallies.setdefault(statement.fingerprint, {})
            if route not in routes and len(routes) >= ROUTES:
                route = OTHER
            if route not in routes:
                routes[route] = Tally(statement)
            return routes[route]

    def __iter__(self) -> Iterator[tuple[str, Tally]]:
        """Every route with its tally of a statement."""
        with self._lock:
            entries = [
                (route, tally)
                for routes in self._tallies.copy().values()
                for route, tally in routes.copy().items()
            ]
        return iter(entries)
