"""Counter, gauge and histogram children: bound once to a label set, then updated in place.

An update is a few reads and writes of cells, without a lock. In CPython ``cells[i] += x`` is atomic
to other threads: between its read and its write there is no call and no backward jump, and only
there does the interpreter switch threads, collect garbage or handle signals. A lock would double
the cost. ``tests/vitals/metrics/test_instruments.py`` checks the bytecode.

Nothing here raises: invalid values are counted in ``vitals_dropped_total``.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from functools import cache
from time import perf_counter, time
from typing import TypeVar

from vitals.metrics.aggregation import write_exemplar
from vitals.metrics.mmap_store import Cells

EXEMPLAR_INTERVAL = 1.0
"""Minimum age of a bucket's exemplar before it is replaced, in seconds. One per scrape is enough,
and most requests then need no trace id."""

INFINITY = float("inf")


OnDrop = Callable[[str], None]
"""Counts a dropped value, by reason."""

INVALID = "invalid_value"


class CounterChild:
    """One counter series."""

    __slots__ = ("_cells", "_on_drop")

    def __init__(self, cells: Cells, on_drop: OnDrop) -> None:
        self._cells = cells
        self._on_drop = on_drop

    def inc(self, amount: float = 1.0) -> None:
        """Add an amount; one below 0, infinite or NaN is dropped, as a counter must not fall."""
        try:
            if 0.0 <= amount < INFINITY:
                self._cells[0] += amount
            else:
                self._on_drop(INVALID)
        except TypeError:
            self._on_drop(INVALID)

    @property
    def value(self) -> float:
        """The count of this process."""
        return float(self._cells[0])

    def move(self, cells: Cells, *, keep: bool) -> None:
        """Switch to other, zeroed cells; ``keep`` carries the count over."""
        self._cells, old = cells, self._cells
        if keep:
            cells[0] += old[0]


class GaugeChild:
    """One gauge series."""

    __slots__ = ("_cells", "_on_drop")

    def __init__(self, cells: Cells, on_drop: OnDrop) -> None:
        self._cells = cells
        self._on_drop = on_drop

    def inc(self, amount: float = 1.0) -> None:
        """Add an amount; one that is not finite is dropped."""
        try:
            if -INFINITY < amount < INFINITY:
                self._cells[0] += amount
            else:
                self._on_drop(INVALID)
        except TypeError:
            self._on_drop(INVALID)

    def dec(self, amount: float = 1.0) -> None:
        """Subtract an amount; one that is not finite is dropped."""
        try:
            if -INFINITY < amount < INFINITY:
                self._cells[0] -= amount
            else:
                self._on_drop(INVALID)
        except TypeError:
            self._on_drop(INVALID)

    def set(self, value: float) -> None:
        """Replace the value; NaN is dropped."""
        try:
            if value == value:  # not NaN  # noqa: PLR0124
                self._cells[0] = value
            else:
                self._on_drop(INVALID)
        except TypeError:
            self._on_drop(INVALID)

    @property
    def value(self) -> float:
        """The value of this process."""
        return float(self._cells[0])

    def move(self, cells: Cells, *, keep: bool) -> None:  # noqa: ARG002  # gauges keep it
        """Switch to other cells; the value is carried over."""
        self._cells, old = cells, self._cells
        cells[0] += old[0]


class HistogramChild:
    """One histogram series: a cell per bucket (not cumulative, ``+Inf`` last), then the sum.

    Args:
        cells: Its cells.
        on_drop: Counts dropped values.
        bounds: Upper bounds, ascending, without ``+Inf``.
        allocate_exemplars: Allocates exemplar cells, called with the first exemplar: most series
            never have one.

    Attributes:
        bounds: The same.
        cells: Its current cells, for callers that inline ``observe``.
        exemplar_due: Per bucket, when the exemplar may be replaced, in ``perf_counter`` seconds.
    """

    __slots__ = (
        "_allocate_exemplars",
        "_exemplar_cells",
        "_on_drop",
        "bounds",
        "cells",
        "exemplar_due",
    )

    def __init__(
        self,
        cells: Cells,
        on_drop: OnDrop,
        bounds: tuple[float, ...],
        allocate_exemplars: Callable[["HistogramChild"], Cells],
    ) -> None:
        self.cells = cells
        self._on_drop = on_drop
        self.bounds = bounds
        self.exemplar_due: Sequence[float] = _no_exemplars(len(bounds) + 1)
        self._exemplar_cells: Cells | None = None
        self._allocate_exemplars = allocate_exemplars

    def observe(self, value: float, trace_id: Callable[[], str] | None = None) -> None:
        """Count a value; one below 0, infinite or NaN is dropped, as the sum must not fall.

        Args:
            value: What was observed, in the unit of the metric's name.
            trace_id: Returns the trace id of the value (32 hex digits); called only when the
                bucket's exemplar may be replaced. An empty id keeps the exemplar.
        """
        try:
            if 0.0 <= value < INFINITY:
                bucket = bisect_left(self.bounds, value)
                cells = self.cells
                cells[bucket] += 1.0
                cells[-1] += value
                if trace_id is not None and perf_counter() > self.exemplar_due[bucket]:
                    self.set_exemplar(bucket, value, trace_id)
            else:
                self._on_drop(INVALID)
        except TypeError:
            self._on_drop(INVALID)

    def add_exemplar(self, value: float, trace_id: str) -> None:
        """Set the exemplar of a value that was counted before, if its bucket's may be replaced."""
        bucket = bisect_left(self.bounds, value)
        if perf_counter() > self.exemplar_due[bucket]:
            self.set_exemplar(bucket, value, lambda: trace_id)

    def observe_all(self, values: Sequence[int]) -> None:
        """Count many values at once, at a fraction of the cost.

        Args:
            values: What was observed, none below 0.
        """
        ordered = sorted(values)
        cells, below, total = self.cells, 0, sum(ordered)
        for bucket, bound in enumerate(self.bounds):
            upto = bisect_right(ordered, bound, below)
            cells[bucket] += upto - below
            below = upto
        above = len(ordered) - below
        cells[-2] += above
        cells[-1] += total

    def set_exemplar(self, bucket: int, value: float, trace_id: Callable[[], str]) -> None:
        """Set a bucket's exemplar, unless the trace id is empty."""
        name = trace_id()
        if name:
            if self._exemplar_cells is None:
                self._exemplar_cells = self._allocate_exemplars(self)
            try:
                write_exemplar(self._exemplar_cells, bucket, (name, float(value), time()))
            except ValueError:
                self._on_drop("invalid_trace_id")
            else:
                exemplar_due = list(self.exemplar_due)
                exemplar_due[bucket] = perf_counter() + EXEMPLAR_INTERVAL
                self.exemplar_due = exemplar_due

    def move(self, cells: Cells, *, keep: bool) -> None:
        """Switch to other, zeroed cells; ``keep`` carries the counts over."""
        self._exemplar_cells, self.exemplar_due = None, _no_exemplars(len(self.bounds) + 1)
        self.cells, old = cells, self.cells
        if keep:
            for number, value in enumerate(old.tolist()):
                cells[number] += value


@cache
def _no_exemplars(buckets: int) -> tuple[float, ...]:
    """``exemplar_due`` of a series without exemplars; shared, as most series have none."""
    return (0.0,) * buckets


Child = TypeVar("Child", CounterChild, GaugeChild, HistogramChild)
