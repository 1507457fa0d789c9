"""Statement statistics of this process since it started, by fingerprint and route.

Bounded: statements by the number of fingerprints, routes by ``MAX_ROUTES`` for each.
"""

from collections.abc import Iterator
from threading import RLock
from typing import Any

from vitals.db.statements.fingerprint import Statement
from vitals.db.statements.n_plus_one import Moment, NPlusOneDetector
from vitals.metrics.catalogue import OTHER

MAX_ROUTES = 25
"""Routes with statistics of their own per statement; further ones share ``__other__``."""

MAX_SOURCE_LOOKUPS = 5
"""Call site lookups per statement and route: one costs as much as ten calls, and a call of another
route may use it up."""


_ONCE_EACH = frozenset(
    ("SET", "RESET", "SHOW", "PRAGMA", "SAVEPOINT", "RELEASE", "ROLLBACK", "NOTIFY")
)
"""Operations that no other statement can do for several rows at once."""


class CallStats:
    """Statistics of one statement's calls: within one request, or for one route.

    Attributes:
        statement: The statement.
        calls: Number of calls.
        seconds: Total time.
        slowest: Longest call, in seconds, since ``take_slowest`` was called last.
        slowest_before: Longest call before that.
        slow: Calls above the objective's threshold.
        failed: Calls that failed.
        n_plus_one: Requests in which the statement was an N+1.
        source: Most recent call site; empty while unknown.
        source_lookups: Call site lookups for this route so far.
        detector: N+1 detector, within one request.
    """

    __slots__ = (
        "calls",
        "detector",
        "failed",
        "n_plus_one",
        "seconds",
        "slow",
        "slowest",
        "slowest_before",
        "source",
        "source_lookups",
        "statement",
    )

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        self.calls = self.slow = self.failed = self.n_plus_one = 0
        self.seconds = self.slowest = self.slowest_before = 0.0
        self.source = ""
        self.source_lookups = 0
        self.detector: NPlusOneDetector | None = None

    def check_n_plus_one(
        self, sql: str, parameters: Any, context: Any, moment: Moment | None = None
    ) -> bool:
        """Pass a call to the N+1 detector: every call of a request but the first.

        Returns:
            Whether the statement is an N+1.
        """
        detector = self.detector
        if detector is None:
            detector = self.detector = NPlusOneDetector()
        if not detector.done and self.statement.operation not in _ONCE_EACH:
            detector.check(sql, parameters, context, moment)
        return detector.found is not None

    def record(self, seconds: float) -> None:
        """Add one call."""
        self.calls += 1
        self.seconds += seconds
        if seconds > self.slowest:  # noqa: PLR1730  # a third of the time of max()
            self.slowest = seconds

    def take_slowest(self) -> float:
        """The longest call since the last time, in seconds; the next one counts anew."""
        recent, self.slowest = self.slowest, 0.0
        self.slowest_before = max(self.slowest_before, recent)
        return recent

    def since_start(self) -> "CallStats":
        """A copy whose longest call is that since the start."""
        copied = CallStats(self.statement)
        copied.merge(self)
        copied.slowest = max(self.slowest, self.slowest_before)
        return copied

    def merge(self, other: "CallStats") -> None:
        """Add the statistics of another."""
        self.calls += other.calls
        self.seconds += other.seconds
        if other.slow or other.failed or other.n_plus_one:
            self.slow += other.slow
            self.failed += other.failed
            self.n_plus_one += other.n_plus_one
        if other.slowest > self.slowest:  # noqa: PLR1730  # a third of the time of max()
            self.slowest = other.slowest
        if other.source:
            self.source = other.source


class StatementStats:
    """Call statistics by statement and route; thread-safe."""

    def __init__(self) -> None:
        self._stats: dict[str, dict[str, CallStats]] = {}
        self._lock = RLock()  # reentrant: a finalizer may send a statement meanwhile

    def of(self, route: str, statement: Statement) -> CallStats:
        """Statistics of a statement; the empty route stands for calls outside of requests."""
        try:
            return self._stats[statement.fingerprint][route]
        except KeyError:
            return self._create(route, statement)

    def routes(self, statement: Statement) -> dict[str, CallStats]:
        """A live, read-only view of its statistics by route."""
        self.of("", statement)
        return self._stats[statement.fingerprint]

    def _create(self, route: str, statement: Statement) -> CallStats:
        with self._lock:
            routes = self._stats.setdefault(statement.fingerprint, {})
            if route not in routes and len(routes) >= MAX_ROUTES:
                route = OTHER
            if route not in routes:
                routes[route] = CallStats(statement)
            return routes[route]

    def __iter__(self) -> Iterator[tuple[str, CallStats]]:
        """Iterate over (route, statistics) pairs of all statements."""
        with self._lock:
            entries = [
                (route, stats)
                for routes in self._stats.copy().values()
                for route, stats in routes.copy().items()
            ]
        return iter(entries)
