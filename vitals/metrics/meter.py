"""The metrics of one application: families of children by their labels, and what they add up to.

A probe binds its labels once and keeps the child; recording is then an addition in place. Where
the figures lie is none of the probe's business: in the memory of this process at first, in a file
that the other workers of the server read once it has joined them. Nothing here raises into a
caller: what cannot be kept is counted in ``vitals_dropped_total``.
"""

import os
import weakref
from collections.abc import Callable, Iterator
from threading import Lock, RLock
from typing import Any, Generic, Protocol

from vitals.metrics.aggregation import (
    EXEMPLAR_CELLS,
    Directory,
    Identity,
    Index,
    Source,
    Total,
    label_text,
    totals,
)
from vitals.metrics.catalogue import DROPPED, OTHER, Reason
from vitals.metrics.declarations import AnyMetric, Counter, Gauge, Histogram, Labels
from vitals.metrics.instruments import Child, CounterChild, GaugeChild, HistogramChild
from vitals.metrics.mmap_store import Cells, Kind, Slab

SERIES_PER_METRIC = 2_000
"""Label sets one metric may have; further ones share ``__other__``."""

SAMPLES = 40_000
"""Lines that all metrics together may have on the page: Prometheus drops a whole scrape that has
more than its ``sample_limit`` (50,000 in ours), and would then see nothing at all."""


class Others(Protocol):
    """The other workers of the server."""

    def sources(self, index: Index) -> list[Source]:
        """What they say, and what the dead have left."""


class Family(Generic[Labels, Child]):
    """All series of one metric.

    Attributes:
        metric: The declaration.
        children: The series by their label values.
    """

    def __init__(
        self,
        metric: AnyMetric,
        meter: "Meter",
        make: Callable[[Cells, "Family[Any, Any]"], Child],
        bounds: tuple[float, ...] = (),
    ) -> None:
        self.metric = metric
        self.bounds = bounds
        self.children: dict[tuple[str, ...], Child] = {}
        self._meter = meter
        self._make: Callable[[Cells, Family[Any, Any]], Child] = make
        self._identity = Identity.of(metric, bounds).written()
        self._address = 0
        self._declare()

    def bind(self, labels: Labels) -> Child:
        """The series of these labels; beyond a bound, the series ``__other__``."""
        child = self.children.get(labels)
        return self._add(labels) if child is None else child

    def make_room(self, child: Child) -> Cells:
        """Cells for a child's exemplars."""
        labels = next(labels for labels, held in self.children.copy().items() if held is child)
        cells = (len(self.bounds) + 1) * EXEMPLAR_CELLS
        return self._append(Kind.EXEMPLARS, labels, cells)

    def move(self, *, keep: bool) -> None:
        """Go on in the meter's new slab."""
        self._declare()
        for labels, child in self.children.copy().items():
            child.move(self._append(Kind.SERIES, labels, self._cells), keep=keep)

    @property
    def lines(self) -> int:
        """Lines of one series on the page: a histogram's buckets, count and sum, or one."""
        return len(self.bounds) + 3 if self.bounds else 1

    @property
    def _cells(self) -> int:
        return len(self.bounds) + 2 if self.bounds else 1

    def _declare(self) -> None:
        self._address, _ = self._meter.slab.append(Kind.METRIC, self._identity)

    def _append(self, kind: Kind, labels: tuple[str, ...], cells: int) -> Cells:
        text = label_text(self.metric.label_names, labels)
        _, memory = self._meter.slab.append(kind, text, cells, self._address)
        return memory

    def _add(self, labels: tuple[str, ...]) -> Child:
        with self._meter.lock:
            if len(labels) != len(self.metric.label_names):
                self._meter.dropped("wrong_labels")
                labels = self._other
            elif not self._meter.admits(self) and labels not in self.children:
                self._meter.dropped("series")
                labels = self._other
            child = self.children.get(labels)
            if child is None:
                child = self._make(self._append(Kind.SERIES, labels, self._cells), self)
                self.children[labels] = child
                self._meter.samples += self.lines
            return child

    @property
    def _other(self) -> tuple[str, ...]:
        return self.metric.labels(*[OTHER] * len(self.metric.label_names))  # type: ignore[no-any-return]


class Meter:
    """The metrics of one application.

    There is no global one: two applications in a process are measured apart.

    Args:
        series_per_metric: The bound of each metric.
        samples: The bound of all together, in lines of the page.

    Attributes:
        slab: Where this process counts.
        samples: How many lines the page has.
        joined: Whether this process has joined the other workers, if there are any.
        lock: Held to add a series, not to count.
    """

    def __init__(
        self, *, series_per_metric: int = SERIES_PER_METRIC, samples: int = SAMPLES
    ) -> None:
        self.lock = RLock()
        self._collecting = RLock()  # another one: reading others' files may take its time
        self._refreshing = Lock()
        self.slab = Slab()
        self.samples = 0
        self.joined = False
        self._limit = series_per_metric
        self._limit_of_all = samples
        self._families: dict[str, Family[Any, Any]] = {}
        self._before_scrape: list[Callable[[], None]] = []
        self._index = Index()
        self._own = Directory(self._index)
        self._others: Others | None = None
        self._dropped = self.counter(DROPPED)
        _METERS.add(self)

    def counter(self, metric: Counter[Labels]) -> Family[Labels, CounterChild]:
        """The family of a counter; the same one whenever it is asked for."""
        return self._family(metric, lambda cells, _: CounterChild(cells, self.dropped))

    def gauge(self, metric: Gauge[Labels]) -> Family[Labels, GaugeChild]:
        """The family of a gauge; the same one whenever it is asked for."""
        return self._family(metric, lambda cells, _: GaugeChild(cells, self.dropped))

    def histogram(
        self, metric: Histogram[Labels], *, also: tuple[float, ...] = ()
    ) -> Family[Labels, HistogramChild]:
        """The family of a histogram; the same one whenever it is asked for.

        Args:
            metric: The declaration.
            also: Bounds besides the declared ones: an objective's threshold must be a bound, or
                the share within it could only be estimated. The first call decides.
        """
        return self._family(
            metric,
            lambda cells, family: HistogramChild(
                cells, self.dropped, family.bounds, family.make_room
            ),
            tuple(sorted({*metric.buckets, *also})),
        )

    def dropped(self, reason: str) -> None:
        """Count something that was not kept; the reason is one of a few fixed words."""
        self._dropped.bind(Reason(reason)).inc()

    def before_scrape(self, refresh: Callable[[], None]) -> None:
        """Have gauges refreshed that are cheaper to read than to keep."""
        self._before_scrape.append(refresh)

    def refresh(self) -> None:
        """Refresh them now; before each scrape here, and time and again for scrapes elsewhere."""
        if not self._refreshing.acquire(blocking=False):
            return  # somebody is about it
        try:
            for refresh in self._before_scrape:
                try:
                    refresh()
                except Exception:  # noqa: BLE001  # a broken gauge must not cost the whole page
                    self.dropped("refresh_failed")
        finally:
            self._refreshing.release()

    def collect(self, *, exemplars: bool = False) -> Iterator[Total]:
        """The figures of every metric over all workers, in the order of first use here."""
        self.refresh()
        with self._collecting:
            self._own.update(self.slab.segments)
            sources = [Source(self._own, alive=True)]
            if self._others is not None:
                sources += self._others.sources(self._index)
        return totals(sources, exemplars=exemplars, refuse=lambda: self.dropped("invalid_value"))

    @property
    def shared(self) -> bool:
        """Whether others may read what is recorded here."""
        return self._others is not None

    def join(self, slab: Slab, others: Others) -> None:
        """Go on in a slab that the other workers of the server read, and read theirs."""
        self._others = others
        self.joined = True
        self._move(slab, keep=True)

    def leave(self) -> None:
        """Forget what was inherited with a fork: the slab and the counts are the parent's."""
        # A thread that the fork has not copied may have held them.
        self.lock, self._collecting, self._refreshing = RLock(), RLock(), Lock()
        self._others = None
        self.joined = False
        self._move(Slab(), keep=False)

    def admits(self, family: Family[Any, Any]) -> bool:
        """Whether there is room for one more series; for the few that say what had none, always."""
        return family is self._dropped or (
            len(family.children) < self._limit and self.samples + family.lines <= self._limit_of_all
        )

    def _move(self, slab: Slab, *, keep: bool) -> None:
        with self.lock:
            self.slab = slab
            self._own = Directory(self._index)
            for family in self._families.values():
                family.move(keep=keep)

    def _family(
        self,
        metric: AnyMetric,
        make: Callable[[Cells, Family[Any, Any]], Child],
        bounds: tuple[float, ...] = (),
    ) -> Family[Any, Child]:
        family = self._families.get(metric.name)
        if family is None:
            with self.lock:
                family = self._families.get(metric.name)
                if family is None:
                    family = self._families[metric.name] = Family(metric, self, make, bounds)
        return family


_METERS: weakref.WeakSet[Meter] = weakref.WeakSet()


def _leave_all() -> None:
    for meter in list(_METERS):
        meter.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all)
