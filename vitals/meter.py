"""Where recorded values live, and the children through which probes record them.

A probe binds its labels once and keeps the child: recording is then an addition under a lock, with
no look-up and no string made. Nothing here raises into a caller: what cannot be kept is counted in
``vitals_dropped_total``.

The locks are re-entrant because recording can be re-entered: the garbage collector may run inside
it and return a lost connection to its pool, which is itself recorded.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from threading import RLock
from typing import Any, Generic, TypeVar

from vitals.catalogue import DROPPED, OTHER, Reason
from vitals.metric import AnyMetric, Counter, Gauge, Histogram, Labels

SERIES_PER_METRIC = 2_000
"""Label sets one metric may have; further ones share ``__other__``."""

EXEMPLAR_SECONDS = 1.0
"""How long a bucket's exemplar stands before a newer one replaces it. One a scrape is enough, and
most requests then never have to name their trace."""

Exemplar = tuple[str, float, float]
"""Trace id, observed value, Unix time."""


class CounterChild:
    """One counter series."""

    __slots__ = ("_lock", "value")

    def __init__(self, lock: RLock) -> None:
        self._lock = lock
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Add an amount; what is negative or NaN is ignored, for a counter never falls."""
        if amount > 0:
            with self._lock:
                self.value += amount


class GaugeChild:
    """One gauge series."""

    __slots__ = ("_lock", "value")

    def __init__(self, lock: RLock) -> None:
        self._lock = lock
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Add an amount."""
        with self._lock:
            self.value += amount

    def dec(self, amount: float = 1.0) -> None:
        """Take an amount away."""
        with self._lock:
            self.value -= amount

    def set(self, value: float) -> None:
        """Replace the value."""
        self.value = float(value)


class HistogramChild:
    """One histogram series.

    Attributes:
        bounds: Upper bounds, ascending, without ``+Inf``.
        counts: Observations per bucket, not cumulated; the last is ``+Inf``'s.
        total: The sum of all observations.
        exemplars: The newest exemplar of each bucket.
    """

    __slots__ = ("_lock", "bounds", "counts", "exemplars", "total")

    def __init__(self, lock: RLock, bounds: tuple[float, ...]) -> None:
        self._lock = lock
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.exemplars: list[Exemplar | None] = [None] * (len(bounds) + 1)

    def observe(self, value: float, trace_id: Callable[[], str] | None = None) -> None:
        """Count a value; NaN is ignored.

        Args:
            value: What was observed, in the unit of the metric's name.
            trace_id: Names the trace that the value belongs to, asked only when the bucket's
                exemplar is old; an empty name leaves it as it is.
        """
        if value != value:  # NaN  # noqa: PLR0124
            return
        bucket = bisect_left(self.bounds, value)
        with self._lock:
            self.counts[bucket] += 1
            self.total += value
        if trace_id is not None:
            now = time.time()
            held = self.exemplars[bucket]
            if (held is None or now - held[2] > EXEMPLAR_SECONDS) and (name := trace_id()):
                self.exemplars[bucket] = (name, value, now)


Child = TypeVar("Child", CounterChild, GaugeChild, HistogramChild)


class Family(Generic[Labels, Child]):
    """All series of one metric.

    Attributes:
        metric: The declaration.
        children: The series by their label values.
    """

    def __init__(
        self, metric: AnyMetric, make: Callable[[], Child], limit: int, refuse: Callable[[], None]
    ) -> None:
        self.metric = metric
        self.children: dict[tuple[str, ...], Child] = {}
        self._make: Callable[[], Child] = make
        self._limit = limit
        self._refuse = refuse
        self._lock = RLock()

    def bind(self, labels: Labels) -> Child:
        """The series of these labels; beyond the metric's bound, the series ``__other__``."""
        child = self.children.get(labels)
        return self._add(labels) if child is None else child

    def _add(self, labels: Labels) -> Child:
        with self._lock:
            if len(self.children) >= self._limit and labels not in self.children:
                self._refuse()
                labels = self.metric.labels(*[OTHER] * len(labels))
            return self.children.setdefault(labels, self._make())


class Meter:
    """The metrics of one application.

    There is no global one: two applications in a process are measured apart.

    Args:
        series_per_metric: The bound of each metric.
    """

    def __init__(self, *, series_per_metric: int = SERIES_PER_METRIC) -> None:
        self._families: dict[str, Family[Any, Any]] = {}
        self._limit = series_per_metric
        self._before_scrape: list[Callable[[], None]] = []
        self._dropped = self.counter(DROPPED)

    def counter(self, metric: Counter[Labels]) -> Family[Labels, CounterChild]:
        """The family of a counter; the same one whenever it is asked for."""
        return self._family(metric, CounterChild)

    def gauge(self, metric: Gauge[Labels]) -> Family[Labels, GaugeChild]:
        """The family of a gauge; the same one whenever it is asked for."""
        return self._family(metric, GaugeChild)

    def histogram(
        self, metric: Histogram[Labels], *, also: tuple[float, ...] = ()
    ) -> Family[Labels, HistogramChild]:
        """The family of a histogram; the same one whenever it is asked for.

        Args:
            metric: The declaration.
            also: Bounds besides the declared ones: an objective's threshold must be a bound, or
                the share within it could only be estimated. The first call decides.
        """
        bounds = tuple(sorted({*metric.buckets, *also}))
        return self._family(metric, lambda lock: HistogramChild(lock, bounds))

    def dropped(self, reason: str) -> None:
        """Count something that was not kept; the reason is one of a few fixed words."""
        self._dropped.bind(Reason(reason)).inc()

    def before_scrape(self, refresh: Callable[[], None]) -> None:
        """Have gauges refreshed that are cheaper to read than to keep."""
        self._before_scrape.append(refresh)

    def collect(self) -> Iterator[Family[Any, Any]]:
        """Every family in the order of first use, its gauges refreshed."""
        for refresh in self._before_scrape:
            try:
                refresh()
            except Exception:  # noqa: BLE001  # a broken gauge must not cost the whole page
                self.dropped("refresh_failed")
        yield from list(self._families.values())

    def _family(self, metric: AnyMetric, make: Callable[[RLock], Child]) -> Family[Any, Child]:
        family = self._families.get(metric.name)
        if family is None:
            lock = RLock()
            family = self._families.setdefault(
                metric.name,
                Family(metric, lambda: make(lock), self._limit, lambda: self.dropped("series")),
            )
        return family
