"""What slabs say, read and put together: the figures of one server from those of its workers.

Counters and histograms of the dead go on counting, or a counter would fall. A gauge says what is
so now, so those of the dead are left out.

A counter would also fall if sums were rounded as they come: added in another order, by another
worker or after a death, they can be smaller in the last digit, and Prometheus would take that for
a restart. So they are added exactly and rounded once.
"""

import json
import math
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from vitals.metrics.catalogue import OTHER
from vitals.metrics.declarations import AnyMetric, Gauge
from vitals.metrics.mmap_store import Cells, Kind, Record, Segment, Slab

EXEMPLAR_CELLS = 4
"""Of one bucket's exemplar: Unix time (0 for none, written last), value, trace id (16 bytes)."""

SERIES_FOLDED = 4_000
"""Series a metric may have of the dead; further ones share ``__other__``. More than the living
may have, for different workers may have met different labels."""

LARGEST = 1e300
"""A figure that is larger was not counted, and could not be added to those of others."""

_EXEMPLAR = struct.Struct("=dd16s")
_JOIN: dict[str, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max, "min": min}


Exemplar = tuple[str, float, float]
"""A request that stands for its bucket: trace id, observed value, Unix time. A plain tuple, for a
page has thousands."""


class Identity(NamedTuple):
    """What a metric is; workers' figures are put together only if they agree in all of it."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...]
    across: str

    @classmethod
    def of(cls, metric: AnyMetric, bounds: tuple[float, ...] = ()) -> "Identity":
        """What a declaration says; of a histogram, with the bounds in use."""
        across = metric.across if isinstance(metric, Gauge) else "sum"
        return cls(metric.name, metric.kind, metric.help, metric.label_names, bounds, across)

    def written(self) -> str:
        """As a slab holds it."""
        return json.dumps(self)

    @classmethod
    def read(cls, text: str) -> "Identity":
        """As a slab held it.

        Raises:
            ValueError: It is none.
        """
        name, kind, help_, labels, bounds, across = json.loads(text)
        return cls(name, kind, help_, tuple(labels), tuple(bounds), across)


class Series:
    """One series, the same object for every slab that holds it."""

    __slots__ = ("identity", "join", "labels", "lasting")

    def __init__(self, identity: Identity, labels: str) -> None:
        self.identity = identity
        self.labels = labels
        self.lasting = identity.kind != "gauge"
        self.join = exact_sum if self.lasting else _JOIN[identity.across]


class Index:
    """Every series known, by what it is."""

    def __init__(self) -> None:
        self._identities: dict[str, Identity] = {}
        self._series: dict[tuple[Identity, str], Series] = {}

    def identity(self, text: str) -> Identity:
        """The metric that a slab declares."""
        known = self._identities.get(text)
        return known or self._identities.setdefault(text, Identity.read(text))

    def series(self, identity: Identity, labels: str) -> Series:
        """The series of these labels."""
        known = self._series.get((identity, labels))
        return known or self._series.setdefault((identity, labels), Series(identity, labels))


Place = tuple[Series, Segment, int, int]
"""Where a series' cells are: their segment, the first and the one after the last."""


class Directory:
    """Where a slab's figures are; longer with every update, for records are only ever appended."""

    def __init__(self, index: Index) -> None:
        self.series: list[Place] = []
        self.exemplars: list[Place] = []
        self.folded: set[str] = set()
        self._index = index
        self._metrics: dict[int, Identity] = {}
        self._read: dict[int, int] = {}

    def update(self, segments: Iterable[Segment]) -> None:
        """Read what was committed since the last time."""
        for segment in segments:
            for record, after in segment.records(self._read.get(segment.base, 0)):
                self._take(segment, record)
                self._read[segment.base] = after

    def _take(self, segment: Segment, record: Record) -> None:
        if record.kind == Kind.METRIC:
            self._metrics[record.at] = self._index.identity(record.text)
        elif record.kind == Kind.FOLDED:
            self.folded.add(record.text)
        elif identity := self._metrics.get(record.reference):
            series = self._index.series(identity, record.text)
            place = (series, segment, record.start, record.stop)
            (self.series if record.kind == Kind.SERIES else self.exemplars).append(place)


class Source(NamedTuple):
    """A slab to read, and whether its worker lives."""

    directory: Directory
    alive: bool


class Row(NamedTuple):
    """The figures of one series."""

    labels: str
    values: list[float]
    exemplars: list[Exemplar | None]


class Total(NamedTuple):
    """The figures of one metric over all workers."""

    metric: Identity
    rows: list[Row]


def totals(
    sources: Sequence[Source], *, exemplars: bool, refuse: Callable[[], None] = lambda: None
) -> Iterator[Total]:
    """Put the figures of several slabs together.

    Args:
        sources: The slabs.
        exemplars: Whether to read these too.
        refuse: Called for each worker's series of a counter or histogram that is left out, because
            one of its figures is infinite, NaN or beyond all reason: nothing can be added to it.

    Of two metrics of one name that are not the same, as while a new version is rolled out, the
    first is shown.
    """
    values = _merge(sources, refuse)
    examples = _merge_exemplars(sources) if exemplars else {}
    rows: dict[Identity, list[Row]] = {}
    for series, figures in values.items():
        row = Row(series.labels, figures, examples.get(series, []))
        rows.setdefault(series.identity, []).append(row)
    shown: set[str] = set()
    for identity, found in rows.items():
        if identity.name not in shown:
            shown.add(identity.name)
            yield Total(identity, found)


def exact_sum(values: Sequence[float]) -> float:
    """The sum, rounded once; the same in every order."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # beyond what a float can hold
        return sum(values)


def _merge(sources: Iterable[Source], refuse: Callable[[], None]) -> dict[Series, list[float]]:
    return {
        series: rows[0] if len(rows) == 1 else list(map(series.join, zip(*rows, strict=True)))
        for series, rows in _gather(sources, refuse).items()
    }


def _gather(
    sources: Iterable[Source], refuse: Callable[[], None] = lambda: None
) -> dict[Series, list[list[float]]]:
    found: dict[Series, list[list[float]]] = {}
    for directory, alive in sources:
        for series, segment, start, stop in directory.series:
            if alive or series.lasting:
                figures: list[float] = segment.cells[start:stop].tolist()  # type: ignore[assignment]  # typeshed takes every memoryview for one of integers
                if series.lasting and not abs(sum(figures)) < LARGEST:  # nor is NaN
                    refuse()
                    continue
                held = found.get(series)
                if held is None:
                    found[series] = [figures]
                else:
                    held.append(figures)
    return found


def _merge_exemplars(sources: Iterable[Source]) -> dict[Series, list[Exemplar | None]]:
    found: dict[Series, list[Cells]] = {}
    for directory, _ in sources:
        for series, segment, start, stop in directory.exemplars:
            found.setdefault(series, []).append(segment.cells[start:stop])
    return {series: _newest(rows) for series, rows in found.items()}


def _newest(rows: list[Cells]) -> list[Exemplar | None]:
    if len(rows) == 1:
        return read_exemplars(rows[0])
    times = zip(*(row[::EXEMPLAR_CELLS].tolist() for row in rows), strict=True)
    newest = [rows[column.index(max(column))] for column in times]
    return [
        read_exemplars(row[bucket * EXEMPLAR_CELLS : (bucket + 1) * EXEMPLAR_CELLS])[0]
        for bucket, row in enumerate(newest)
    ]


def read_exemplars(cells: Cells) -> list[Exemplar | None]:
    """A histogram's exemplars; one that is just being written counts as none."""
    read = _EXEMPLAR.iter_unpack(cells.tobytes())
    still = cells[::EXEMPLAR_CELLS].tolist()
    return [
        (name.hex(), value, at) if at and at == then and math.isfinite(value + at) else None
        for (at, value, name), then in zip(read, still, strict=True)
    ]


def write_exemplar(cells: Cells, bucket: int, exemplar: Exemplar) -> None:
    """Replace a bucket's exemplar; its time goes last, for a reader to see it whole.

    Raises:
        ValueError: The trace id is not one of 32 hex digits.
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


def fold(directories: Sequence[Directory], into: Slab) -> None:
    """Write what lasts of several slabs into one.

    What a sum loses by rounding is written beside it, as one more row of the series.

    Raises:
        OSError: There is no room for it.
    """
    dead = [Source(directory, alive=False) for directory in directories]
    addresses: dict[Identity, int] = {}
    kept = _bounded(_gather(dead))
    for (identity, labels), rows in kept.items():
        if identity not in addresses:
            addresses[identity], _ = into.append(Kind.METRIC, identity.written())
        for row in _exact_rows(rows):
            _, cells = into.append(Kind.SERIES, labels, len(row), addresses[identity])
            for number, value in enumerate(row):
                cells[number] = value
    for series, exemplars in _merge_exemplars(dead).items():
        if (series.identity, series.labels) not in kept:
            continue
        size = len(exemplars) * EXEMPLAR_CELLS
        _, cells = into.append(Kind.EXEMPLARS, series.labels, size, addresses[series.identity])
        for bucket, exemplar in enumerate(exemplars):
            if exemplar is not None:
                write_exemplar(cells, bucket, exemplar)


def _bounded(
    found: dict[Series, list[list[float]]],
) -> dict[tuple[Identity, str], list[list[float]]]:
    kept: dict[tuple[Identity, str], list[list[float]]] = {}
    counts: Counter[Identity] = Counter()
    for series, rows in found.items():
        identity = series.identity
        counts[identity] += 1
        labels = series.labels if counts[identity] <= SERIES_FOLDED else other(identity.labels)
        kept.setdefault((identity, labels), []).extend(rows)
    return kept


def _exact_rows(rows: list[list[float]]) -> list[list[float]]:
    columns = list(zip(*rows, strict=True))
    sums = [exact_sum(column) for column in columns]
    rests = [
        exact_sum((*column, -total)) if math.isfinite(total) else 0.0
        for column, total in zip(columns, sums, strict=True)
    ]
    return [sums, rests] if any(rests) else [sums]


def label_text(names: Sequence[str], values: Sequence[str]) -> str:
    """Labels as they stand between the braces of a series."""
    return ",".join(f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True))


def other(names: Sequence[str]) -> str:
    """The labels of what is beyond a metric's bound."""
    return label_text(names, [OTHER] * len(names))


def _escape(value: str) -> str:
    if '"' in value or "\\" in value or "\n" in value:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return value
