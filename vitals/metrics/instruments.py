"""The children of a metric: what a probe binds once and adds to ever after.

An update is a few reads and writes of cells, without a lock: in CPython ``cells[i] += x`` is one
step to other threads, for between its read and its write nothing is called and nothing jumps back,
and only there does the interpreter switch threads, collect garbage or handle signals. A lock would
double the price. ``tests/vitals/metrics/test_instruments.py`` holds the bytecode to that.

Nothing here raises: what makes no sense is counted in ``vitals_dropped_total``.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from functools import cache
from time import perf_counter, time
from typing import TypeVar

from vitals.metrics.aggregation import Exemplar, read_exemplars, write_exemplar
from vitals.metrics.mmap_store import Cells

EXEMPLAR_SECONDS = 1.0
"""How long a bucket's exemplar stands before a newer one replaces it. One a scrape is enough, and
most requests then never have to name their trace."""

INFINITY = float("inf")


Refuse = Callable[[str], None]
"""Counts something that was not kept, by reason."""

INVALID = "invalid_value"


class CounterChild:
    """One counter series."""

    __slots__ = ("_cells", "_refuse")

    def __init__(self, cells: Cells, refuse: Refuse) -> None:
        self._cells = cells
        self._refuse = refuse

    def inc(self, amount: float = 1.0) -> None:
        """Add an amount; one below 0, infinite or NaN is dropped, for a counter never falls."""
        try:
            if 0.0 <= amount < INFINITY:
                self._cells[0] += amount
            else:
                self._refuse(INVALID)
        except TypeError:
            self._refuse(INVALID)

    @property
    def value(self) -> float:
        """What this process has counted."""
        return float(self._cells[0])

    def move(self, cells: Cells, *, keep: bool) -> None:
        """Go on in other cells, which hold 0; what was counted is taken along on demand."""
        self._cells, old = cells, self._cells
        if keep:
            cells[0] += old[0]


class GaugeChild:
    """One gauge series."""

    __slots__ = ("_cells", "_refuse")

    def __init__(self, cells: Cells, refuse: Refuse) -> None:
        self._cells = cells
        self._refuse = refuse

    def inc(self, amount: float = 1.0) -> None:
        """Add an amount; one that is not finite is dropped."""
        try:
            if -INFINITY < amount < INFINITY:
                self._cells[0] += amount
            else:
                self._refuse(INVALID)
        except TypeError:
            self._refuse(INVALID)

    def dec(self, amount: float = 1.0) -> None:
        """Take an amount away; one that is not finite is dropped."""
        try:
            if -INFINITY < amount < INFINITY:
                self._cells[0] -= amount
            else:
                self._refuse(INVALID)
        except TypeError:
            self._refuse(INVALID)

    def set(self, value: float) -> None:
        """Replace the value; NaN is dropped."""
        try:
            if value == value:  # not NaN  # noqa: PLR0124
                self._cells[0] = value
            else:
                self._refuse(INVALID)
        except TypeError:
            self._refuse(INVALID)

    @property
    def value(self) -> float:
        """What this process has set."""
        return float(self._cells[0])

    def move(self, cells: Cells, *, keep: bool) -> None:  # noqa: ARG002  # a state, no count
        """Go on in other cells; what was set stays set."""
        self._cells, old = cells, self._cells
        cells[0] += old[0]


class HistogramChild:
    """One histogram series: a cell for each bucket, not cumulated, ``+Inf`` last, and the sum.

    Args:
        cells: Where it counts.
        refuse: Counts what was not kept.
        bounds: Upper bounds, ascending, without ``+Inf``.
        make_room: Gives the cells of its exemplars, asked for with the first one: most series
            never have any.

    Attributes:
        bounds: The same.
        cells: Where it counts now; for those who add without a call, as ``observe`` does.
        due: By bucket, from when on a newer exemplar may replace it, in ``perf_counter``'s seconds.
    """

    __slots__ = ("_examples", "_make_room", "_refuse", "bounds", "cells", "due")

    def __init__(
        self,
        cells: Cells,
        refuse: Refuse,
        bounds: tuple[float, ...],
        make_room: Callable[["HistogramChild"], Cells],
    ) -> None:
        self.cells = cells
        self._refuse = refuse
        self.bounds = bounds
        self.due: Sequence[float] = _never(len(bounds) + 1)
        self._examples: Cells | None = None
        self._make_room = make_room

    def observe(self, value: float, trace_id: Callable[[], str] | None = None) -> None:
        """Count a value; one below 0, infinite or NaN is dropped, for a sum never falls.

        Args:
            value: What was observed, in the unit of the metric's name.
            trace_id: Names the trace that the value belongs to (32 hex digits), asked only when
                the bucket's exemplar is old; an empty name leaves it as it is.
        """
        try:
            if 0.0 <= value < INFINITY:
                bucket = bisect_left(self.bounds, value)
                cells = self.cells
                cells[bucket] += 1.0
                cells[-1] += value
                if trace_id is not None and perf_counter() > self.due[bucket]:
                    self.exemplify(bucket, value, trace_id)
            else:
                self._refuse(INVALID)
        except TypeError:
            self._refuse(INVALID)

    def observe_all(self, values: Sequence[int]) -> None:
        """Count many values at once, at a fraction of the price.

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

    def exemplify(self, bucket: int, value: float, trace_id: Callable[[], str]) -> None:
        """Have a value stand for its bucket, under the name of its trace."""
        name = trace_id()
        if name:
            if self._examples is None:
                self._examples = self._make_room(self)
            try:
                write_exemplar(self._examples, bucket, (name, float(value), time()))
            except ValueError:
                self._refuse("invalid_trace_id")
            else:
                due = list(self.due)
                due[bucket] = perf_counter() + EXEMPLAR_SECONDS
                self.due = due

    @property
    def counts(self) -> list[int]:
        """Observations of this process per bucket, not cumulated; the last is ``+Inf``'s."""
        return [int(count) for count in self.cells.tolist()[:-1]]

    @property
    def total(self) -> float:
        """The sum of all observations of this process."""
        return float(self.cells[-1])

    @property
    def exemplars(self) -> list[Exemplar | None]:
        """The newest exemplar of each bucket."""
        if self._examples is None:
            return [None] * (len(self.bounds) + 1)
        return read_exemplars(self._examples)

    def move(self, cells: Cells, *, keep: bool) -> None:
        """Go on in other cells, which hold 0; what was counted is taken along on demand."""
        self._examples, self.due = None, _never(len(self.bounds) + 1)
        self.cells, old = cells, self.cells
        if keep:
            for number, value in enumerate(old.tolist()):
                cells[number] += value


@cache
def _never(buckets: int) -> tuple[float, ...]:
    """When exemplars were shown last by a series that has none: most have none, and share it."""
    return (0.0,) * buckets


Child = TypeVar("Child", CounterChild, GaugeChild, HistogramChild)
