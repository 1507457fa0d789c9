"""Merges the metrics of all workers of a server into one set of series.

Counters and histograms of dead workers are kept, because a counter must not fall. Gauges describe
the present, so those of dead workers are left out.

A counter would also fall if partial sums were rounded: adding floats in another order, by another
worker or after a death, can give a result that is smaller in the last digit, which Prometheus takes
for a counter reset. Sums are therefore exact and rounded once.
"""

import collections
import json
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from vitals.metrics.catalogue import OTHER
from vitals.metrics.declarations import AnyMetric, Counter, Gauge
from vitals.metrics.mmap_store import Cells, MmapStore, Record, RecordKind, Segment

EXEMPLAR_CELLS = 4
"""Cells of a bucket's exemplar: Unix time (0: none; written last), value, trace id (16 bytes)."""

MAX_COMPACTED_SERIES = 4_000
"""Most series of dead workers per metric; further ones share ``__other__``. It exceeds the limit
of a live worker, because workers may have seen different labels."""

MAX_VALUE = 1e300
"""Largest plausible value; anything above is corrupt, and cannot be summed."""

_EXEMPLAR = struct.Struct("=dd16s")
_COMBINE: dict[str, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max, "min": min}


Exemplar = tuple[str, float, float]
"""Trace id, observed value, Unix time. A plain tuple, because one scrape has thousands."""


class MetricKey(NamedTuple):
    """Identity of a metric; workers' series are merged only if all of its fields agree."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...]
    multiprocess_mode: str

    @classmethod
    def of(cls, metric: AnyMetric, bounds: tuple[float, ...] = ()) -> "MetricKey":
        """The key of a declared metric; for a histogram, with the bounds in use."""
        mode = metric.multiprocess_mode if isinstance(metric, Counter | Gauge) else "sum"
        return cls(metric.name, metric.kind, metric.help, metric.label_names, bounds, mode)

    def to_json(self) -> str:
        """Serialize for a store's record."""
        return json.dumps(self)

    @classmethod
    def from_json(cls, text: str) -> "MetricKey":
        """Parse a store's record.

        Raises:
            ValueError: The text is not a metric key.
        """
        name, kind, help_, labels, bounds, mode = json.loads(text)
        return cls(name, kind, help_, tuple(labels), tuple(bounds), mode)


class Series:
    """A series; one object, whichever stores hold it."""

    __slots__ = ("combine", "cumulative", "labels", "metric")

    def __init__(self, metric: MetricKey, labels: str) -> None:
        self.metric = metric
        self.labels = labels
        self.cumulative = metric.kind != "gauge"
        self.combine = (
            exact_sum
            if self.cumulative and metric.multiprocess_mode == "sum"
            else _COMBINE[metric.multiprocess_mode]
        )


class SeriesRegistry:
    """Interns metric keys and series, so that equal ones are the same object."""

    def __init__(self) -> None:
        self._metric_keys: dict[str, MetricKey] = {}
        self._series: dict[tuple[MetricKey, str], Series] = {}

    def metric(self, text: str) -> MetricKey:
        """The metric key that a store's record declares."""
        known = self._metric_keys.get(text)
        return known or self._metric_keys.setdefault(text, MetricKey.from_json(text))

    def series(self, metric: MetricKey, labels: str) -> Series:
        """The series with these labels."""
        known = self._series.get((metric, labels))
        return known or self._series.setdefault((metric, labels), Series(metric, labels))


CellRange = tuple[Series, Segment, int, int]
"""Location of a series' cells: segment, first cell, cell after the last."""


class SeriesIndex:
    """Locations of the series in one store; updates are incremental, as records are append-only.

    Args:
        registry: Interns the series.
        private_label: A label for the series of private segments, as text: other workers do not
            see these, so they must not be added to what the others count.

    Attributes:
        series: Where the series are.
        exemplars: Where their exemplars are.
        compacted: Names of the files that were merged into this store, the oldest first.
    """

    def __init__(self, registry: SeriesRegistry, private_label: str = "") -> None:
        self.series: list[CellRange] = []
        self.exemplars: list[CellRange] = []
        self.compacted: dict[str, None] = {}
        self._registry = registry
        self._private_label = private_label
        self._metrics: dict[int, MetricKey] = {}
        self._offsets: dict[int, int] = {}

    def update(self, segments: Iterable[Segment]) -> None:
        """Index the records committed since the last update."""
        for segment in segments:
            for record, after in segment.records(self._offsets.get(segment.base, 0)):
                self._add(segment, record)
                self._offsets[segment.base] = after

    def total(self, metric: AnyMetric) -> float:
        """The sum of a metric's values over its series."""
        return sum(
            sum(segment.cells[start:stop].tolist())
            for series, segment, start, stop in self.series
            if series.metric.name == metric.name
        )

    def _add(self, segment: Segment, record: Record) -> None:
        if record.kind == RecordKind.METRIC:
            self._metrics[record.address] = self._registry.metric(record.text)
        elif record.kind == RecordKind.COMPACTED:
            self.compacted[record.text] = None
        elif metric := self._metrics.get(record.reference):
            labels = record.text
            if segment.private and self._private_label:
                labels = f"{labels},{self._private_label}" if labels else self._private_label
            series = self._registry.series(metric, labels)
            cells = (series, segment, record.start, record.stop)
            (self.series if record.kind == RecordKind.SERIES else self.exemplars).append(cells)


class StoreSource(NamedTuple):
    """A store to read, and whether its worker is alive."""

    series_index: SeriesIndex
    alive: bool


class AggregatedSeries(NamedTuple):
    """Merged values of one series."""

    labels: str
    values: list[float]
    exemplars: list[Exemplar | None]


class AggregatedMetric(NamedTuple):
    """All series of one metric, merged over all workers."""

    metric: MetricKey
    series: list[AggregatedSeries]


def aggregate(
    sources: Sequence[StoreSource], *, exemplars: bool, on_drop: Callable[[], None] = lambda: None
) -> Iterator[AggregatedMetric]:
    """Merge the series of several stores.

    Args:
        sources: The stores.
        exemplars: Whether to read exemplars too.
        on_drop: Called for each worker's counter or histogram series that is left out because one
            of its values is infinite, NaN or implausibly large, and cannot be summed.

    If two metrics share a name but differ, as during a rolling update, only the first is returned.
    """
    combined = _combine_values(sources, on_drop)
    exemplar_lists = _combine_exemplars(sources) if exemplars else {}
    by_metric: dict[MetricKey, list[AggregatedSeries]] = {}
    for series, values in combined.items():
        aggregated = AggregatedSeries(series.labels, values, exemplar_lists.get(series, []))
        by_metric.setdefault(series.metric, []).append(aggregated)
    seen: set[str] = set()
    for metric, aggregates in by_metric.items():
        if metric.name not in seen:
            seen.add(metric.name)
            yield AggregatedMetric(metric, aggregates)


def exact_sum(values: Sequence[float]) -> float:
    """The sum, rounded once; independent of the order of the values."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # the sum overflows a float
        return sum(values)


def _combine_values(
    sources: Iterable[StoreSource], on_drop: Callable[[], None]
) -> dict[Series, list[float]]:
    return {
        series: rows[0] if len(rows) == 1 else list(map(series.combine, zip(*rows, strict=True)))
        for series, rows in _collect_values(sources, on_drop).items()
    }


def _collect_values(
    sources: Iterable[StoreSource], on_drop: Callable[[], None] = lambda: None
) -> dict[Series, list[list[float]]]:
    found: dict[Series, list[list[float]]] = {}
    for index, alive in sources:
        for series, segment, start, stop in index.series:
            if alive or series.cumulative:
                values: list[float] = segment.cells[start:stop].tolist()  # type: ignore[assignment]  # typeshed takes every memoryview for one of integers
                if series.cumulative and not abs(sum(values)) < MAX_VALUE:  # false for NaN too
                    on_drop()
                    continue
                held = found.get(series)
                if held is None:
                    found[series] = [values]
                else:
                    held.append(values)
    return found


def _combine_exemplars(sources: Iterable[StoreSource]) -> dict[Series, list[Exemplar | None]]:
    found: dict[Series, list[Cells]] = {}
    for index, _ in sources:
        for series, segment, start, stop in index.exemplars:
            found.setdefault(series, []).append(segment.cells[start:stop])
    return {series: _newest_exemplars(rows) for series, rows in found.items()}


def _newest_exemplars(rows: list[Cells]) -> list[Exemplar | None]:
    if len(rows) == 1:
        return read_exemplars(rows[0])
    times = zip(*(row[::EXEMPLAR_CELLS].tolist() for row in rows), strict=True)
    newest = [rows[column.index(max(column))] for column in times]
    return [
        read_exemplars(row[bucket * EXEMPLAR_CELLS : (bucket + 1) * EXEMPLAR_CELLS])[0]
        for bucket, row in enumerate(newest)
    ]


def read_exemplars(cells: Cells) -> list[Exemplar | None]:
    """Read a histogram's exemplars; one that is being written at this moment counts as none."""
    read = _EXEMPLAR.iter_unpack(cells.tobytes())
    still = cells[::EXEMPLAR_CELLS].tolist()
    return [
        (name.hex(), value, at) if at and at == then and math.isfinite(value + at) else None
        for (at, value, name), then in zip(read, still, strict=True)
    ]


def write_exemplar(cells: Cells, bucket: int, exemplar: Exemplar) -> None:
    """Replace a bucket's exemplar; the time is written last, so readers never see a torn one.

    Raises:
        ValueError: The trace id is not 32 hex digits.
    """
    trace_id, value, at = exemplar
    name = bytes.fromhex(trace_id)
    if len(name) * 2 != len(trace_id) or len(name) != 16:  # noqa: PLR2004  # W3C
        raise ValueError(f"trace id {trace_id!r} must be 32 hex digits")
    first = bucket * EXEMPLAR_CELLS
    cells[first] = 0.0
    cells[first + 1] = value
    cells.cast("B")[(first + 2) * 8 : (first + 4) * 8] = name
    cells[first] = at


def compact(indexes: Sequence[SeriesIndex], target: MmapStore) -> None:
    """Merge the counters and histograms of several stores into one store.

    What a sum loses by rounding is stored as a second record of the same series.

    Raises:
        OSError: There is no space left.
    """
    dead = [StoreSource(index, alive=False) for index in indexes]
    addresses: dict[MetricKey, int] = {}
    limited = _limit_series(_collect_values(dead))
    for (metric, labels), rows in limited.items():
        if metric not in addresses:
            addresses[metric], _ = target.append(RecordKind.METRIC, metric.to_json())
        merged = [_greatest(rows)] if metric.multiprocess_mode == "max" else _exact_sums(rows)
        for row in merged:
            _, cells = target.append(RecordKind.SERIES, labels, len(row), addresses[metric])
            for number, value in enumerate(row):
                cells[number] = value
    for series, exemplars in _combine_exemplars(dead).items():
        if (series.metric, series.labels) not in limited:
            continue
        size = len(exemplars) * EXEMPLAR_CELLS
        _, cells = target.append(
            RecordKind.EXEMPLARS, series.labels, size, addresses[series.metric]
        )
        for bucket, exemplar in enumerate(exemplars):
            if exemplar is not None:
                write_exemplar(cells, bucket, exemplar)


def _limit_series(
    found: dict[Series, list[list[float]]],
) -> dict[tuple[MetricKey, str], list[list[float]]]:
    limited: dict[tuple[MetricKey, str], list[list[float]]] = {}
    counts: collections.Counter[MetricKey] = collections.Counter()
    for series, rows in found.items():
        metric = series.metric
        counts[metric] += 1
        labels = (
            series.labels
            if counts[metric] <= MAX_COMPACTED_SERIES
            else overflow_labels(metric.labels)
        )
        limited.setdefault((metric, labels), []).extend(rows)
    return limited


def _greatest(rows: list[list[float]]) -> list[float]:
    return [max(column) for column in zip(*rows, strict=True)]


def _exact_sums(rows: list[list[float]]) -> list[list[float]]:
    columns = list(zip(*rows, strict=True))
    sums = [exact_sum(column) for column in columns]
    rests = [
        exact_sum((*column, -total)) if math.isfinite(total) else 0.0
        for column, total in zip(columns, sums, strict=True)
    ]
    return [sums, rests] if any(rests) else [sums]


def label_text(names: Sequence[str], values: Sequence[str]) -> str:
    """Labels in exposition format, without the braces."""
    return ",".join(f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True))


def overflow_labels(names: Sequence[str]) -> str:
    """The labels of the series beyond a metric's limit."""
    return label_text(names, [OTHER] * len(names))


def _escape(value: str) -> str:
    if '"' in value or "\\" in value or "\n" in value:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return value
