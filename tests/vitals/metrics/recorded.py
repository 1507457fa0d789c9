"""What a histogram has recorded in this process."""

from vitals.metrics.aggregation import Exemplar, read_exemplars
from vitals.metrics.instruments import HistogramChild


def counts(child: HistogramChild) -> list[int]:
    """Observations per bucket, not cumulated; the last is ``+Inf``'s."""
    return [int(count) for count in child.cells.tolist()[:-1]]


def total(child: HistogramChild) -> float:
    """The sum of all observations."""
    return float(child.cells[-1])


def exemplars(child: HistogramChild) -> list[Exemplar | None]:
    """The newest exemplar of each bucket."""
    cells = child._exemplar_cells
    return [None] * (len(child.bounds) + 1) if cells is None else read_exemplars(cells)
