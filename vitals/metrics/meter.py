"""Metrics of one application: families of children by label set, and their aggregation.

Instrumentation binds labels once and keeps the child; recording is then an addition in place. The
values live in private memory at first, and in a memory-mapped file that the other workers read once
this process has joined them. Nothing here raises into a caller: dropped values are counted in
``vitals_dropped_total``.
"""

import os
import weakref
from collections.abc import Callable, Iterator
from threading import Lock, RLock
from typing import Any, Generic, Protocol

from vitals.metrics.aggregation import (
    EXEMPLAR_CELLS,
    AggregatedMetric,
    MetricKey,
    SeriesIndex,
    SeriesRegistry,
    StoreSource,
    aggregate,
    label_text,
)
from vitals.metrics.catalogue import DROPPED, OTHER, ReasonLabels
from vitals.metrics.declarations import AnyMetric, Counter, Gauge, Histogram, Labels
from vitals.metrics.instruments import Child, CounterChild, GaugeChild, HistogramChild
from vitals.metrics.mmap_store import Cells, MmapStore, RecordKind

MAX_SERIES_PER_METRIC = 2_000
"""Most label sets per metric; further ones share ``__other__``."""

MAX_SAMPLES = 40_000
"""Most samples of all metrics together: Prometheus drops the whole scrape above its
``sample_limit`` (50,000 in ours)."""


class PeerWorkers(Protocol):
    """The other workers of the server."""

    def sources(self, registry: SeriesRegistry) -> list[StoreSource]:
        """The stores of the other live workers, and of dead ones."""


class Sharing(Protocol):
    """Keeps a meter shared with the other workers, whatever happens to what they share."""

    def check(self) -> None:
        """Repair what is broken; called before each scrape, in a thread that may wait."""

    def tick(self) -> None:
        """Have it repaired in another thread if necessary; called on the event loop."""

    def leave(self) -> None:
        """Note that this worker ends by plan."""


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
        self._key = MetricKey.of(metric, bounds).to_json()
        self._record_address = 0
        self._declare()

    def bind(self, labels: Labels) -> Child:
        """The child for a label set; beyond the limit, the child of ``__other__``."""
        child = self.children.get(labels)
        return self._add(labels) if child is None else child

    def allocate_exemplars(self, child: Child) -> Cells:
        """Allocate the cells of a child's exemplars."""
        labels = next(labels for labels, held in self.children.copy().items() if held is child)
        cells = (len(self.bounds) + 1) * EXEMPLAR_CELLS
        return self._append(RecordKind.EXEMPLARS, labels, cells)

    def move(self, *, keep: bool) -> None:
        """Switch to the meter's new store."""
        self._declare()
        for labels, child in self.children.copy().items():
            child.move(self._append(RecordKind.SERIES, labels, self._cell_count), keep=keep)

    @property
    def samples_per_series(self) -> int:
        """Samples per series: a histogram's buckets, ``+Inf``, count and sum; otherwise one."""
        return len(self.bounds) + 3 if self.bounds else 1

    @property
    def _cell_count(self) -> int:
        return len(self.bounds) + 2 if self.bounds else 1

    def _declare(self) -> None:
        self._record_address, _ = self._meter.store.append(RecordKind.METRIC, self._key)

    def _append(self, kind: RecordKind, labels: tuple[str, ...], cells: int) -> Cells:
        text = label_text(self.metric.label_names, labels)
        _, memory = self._meter.store.append(kind, text, cells, self._record_address)
        return memory

    def _add(self, labels: tuple[str, ...]) -> Child:
        with self._meter.lock:
            if len(labels) != len(self.metric.label_names):
                self._meter.dropped("wrong_labels")
                labels = self._overflow_labels
            elif not self._meter.has_room_for(self) and labels not in self.children:
                self._meter.dropped("series")
                labels = self._overflow_labels
            child = self.children.get(labels)
            if child is None:
                child = self._make(self._append(RecordKind.SERIES, labels, self._cell_count), self)
                self.children[labels] = child
                self._meter.samples += self.samples_per_series
            return child

    @property
    def _overflow_labels(self) -> tuple[str, ...]:
        return self.metric.labels(*[OTHER] * len(self.metric.label_names))  # type: ignore[no-any-return]


class Meter:
    """The metrics of one application.

    There is no global meter: two applications in a process are measured separately.

    Args:
        series_per_metric: Most series per metric.
        samples: Most samples of all metrics together.

    Attributes:
        store: The store of this process.
        samples: Number of samples in a scrape.
        joined: Whether this process has joined the other workers, if there are any.
        sharing: Keeps it shared with them; None if there are none.
        apart: Whether there are other workers, but nothing can be shared with them.
        lock: Held while a series is added, not while counting.
        collecting: Held while stores are read or exchanged; separate, because reading other
            workers' files may be slow.
    """

    def __init__(
        self, *, series_per_metric: int = MAX_SERIES_PER_METRIC, samples: int = MAX_SAMPLES
    ) -> None:
        self.lock = RLock()
        self.collecting = RLock()
        self._refreshing = Lock()
        self.store = MmapStore()
        self.samples = 0
        self.joined = False
        self.sharing: Sharing | None = None
        self.apart = False
        self._max_series = series_per_metric
        self._max_samples = samples
        self._families: dict[str, Family[Any, Any]] = {}
        self._refreshers: list[Callable[[], None]] = []
        self._registry = SeriesRegistry()
        self._own_index = SeriesIndex(self._registry)
        self._peers: PeerWorkers | None = None
        self._dropped = self.counter(DROPPED)
        _METERS.add(self)

    def counter(self, metric: Counter[Labels]) -> Family[Labels, CounterChild]:
        """The family of a counter; the same object on every call."""
        return self._family(metric, lambda cells, _: CounterChild(cells, self.dropped))

    def gauge(self, metric: Gauge[Labels]) -> Family[Labels, GaugeChild]:
        """The family of a gauge; the same object on every call."""
        return self._family(metric, lambda cells, _: GaugeChild(cells, self.dropped))

    def histogram(
        self, metric: Histogram[Labels], *, extra_bounds: tuple[float, ...] = ()
    ) -> Family[Labels, HistogramChild]:
        """The family of a histogram; the same object on every call.

        Args:
            metric: The declaration.
            extra_bounds: Bounds besides the declared ones: an objective's threshold must be a
                bound, or the share within it could only be estimated. The first call decides.
        """
        return self._family(
            metric,
            lambda cells, family: HistogramChild(
                cells, self.dropped, family.bounds, family.allocate_exemplars
            ),
            tuple(sorted({*metric.buckets, *extra_bounds})),
        )

    def dropped(self, reason: str, count: int = 1) -> None:
        """Count dropped values; the reason is one of a few fixed words."""
        self._dropped.bind(ReasonLabels(reason)).inc(count)

    def before_scrape(self, refresh: Callable[[], None]) -> None:
        """Register a callback that refreshes gauges before each scrape."""
        self._refreshers.append(refresh)

    def refresh(self) -> None:
        """Run the callbacks: before each scrape, and periodically for those of other workers."""
        if not self._refreshing.acquire(blocking=False):
            return  # another thread does it already
        try:
            for refresh in self._refreshers:
                try:
                    refresh()
                except Exception:  # noqa: BLE001  # a broken gauge must not fail the scrape
                    self.dropped("refresh_failed")
        finally:
            self._refreshing.release()

    def collect(self, *, exemplars: bool = False) -> Iterator[AggregatedMetric]:
        """Every metric, merged over all workers, in the order of first use here."""
        if self.sharing is not None:
            self.sharing.check()
        self.refresh()
        with self.collecting:
            self._own_index.update(self.store.segments)
            sources = [StoreSource(self._own_index, alive=True)]
            if self._peers is not None:
                sources += self._peers.sources(self._registry)
        return aggregate(
            sources, exemplars=exemplars, on_drop=lambda: self.dropped("invalid_value")
        )

    @property
    def shared(self) -> bool:
        """Whether other workers can read this meter."""
        return self._peers is not None

    def join(self, store: MmapStore, peers: PeerWorkers) -> None:
        """Switch to a store that the other workers read, and read theirs."""
        with self.collecting:
            self._peers = peers
            self.joined = True
            self.apart = False
            self._move(store, keep=True)

    def read_peers(self) -> None:
        """Read the other workers' stores ahead of the next scrape, while their files exist."""
        with self.collecting:
            if self._peers is not None:
                self._peers.sources(self._registry)

    def part(self) -> None:
        """Export only the series of this worker, labelled as such: nothing can be shared.

        Without the label, scrapes that reach one worker after the other would show counters that
        fall.
        """
        with self.collecting:
            self.apart = True
            self._own_index = SeriesIndex(self._registry, self._private_label)

    def reset_after_fork(self) -> None:
        """Discard the state inherited by a fork: the store and the counts are the parent's."""
        # A thread that does not exist in the child may have held them.
        self.lock, self.collecting, self._refreshing = RLock(), RLock(), Lock()
        self._peers = None
        self.joined = False
        self.sharing = None
        self.apart = False
        self._move(MmapStore(), keep=False)

    def has_room_for(self, family: Family[Any, Any]) -> bool:
        """Whether one more series fits; ``vitals_dropped_total`` always does."""
        return family is self._dropped or (
            len(family.children) < self._max_series
            and self.samples + family.samples_per_series <= self._max_samples
        )

    def _move(self, store: MmapStore, *, keep: bool) -> None:
        with self.lock:
            self.store = store
            self._own_index = SeriesIndex(self._registry, self._private_label)
            for family in self._families.values():
                family.move(keep=keep)

    @property
    def _private_label(self) -> str:
        return f'worker="{os.getpid()}"' if self.shared or self.apart else ""

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


def _reset_all_after_fork() -> None:
    for meter in list(_METERS):
        meter.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all_after_fork)
