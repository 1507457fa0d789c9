"""Reads the metrics of each statement, aggregated over all workers of the server."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from vitals.metrics.aggregation import AggregatedSeries
from vitals.metrics.catalogue import DB_OPERATION_DURATION, DB_SLOW_QUERIES
from vitals.metrics.meter import Meter

_LABEL = re.compile(r'(?<!\w)(\w++)="((?:[^"\\]|\\.)*+)"')
_ESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


@dataclass
class StatementMetrics:
    """Metrics of one statement.

    Attributes:
        summary: The operation and the tables.
        calls: Number of calls.
        seconds: Total time.
        failed: Calls that failed.
        slow: Calls above the objective's threshold.
        buckets: Calls per histogram bucket, not cumulative; the last has no upper bound.
        bounds: Upper bounds of the other buckets, in seconds.
    """

    summary: str
    calls: int = 0
    seconds: float = 0.0
    failed: int = 0
    slow: int = 0
    buckets: list[float] = field(default_factory=list)
    bounds: tuple[float, ...] = ()

    def quantile(self, quantile: float) -> float:
        """Estimate a quantile of the duration in seconds, as ``histogram_quantile`` does.

        Calls are assumed to be spread evenly within a bucket; above the last bound the result is
        that bound.
        """
        rank = quantile * sum(self.buckets)
        lower = 0.0
        for bound, calls in zip(self.bounds, self.buckets, strict=False):
            if calls and rank <= calls:
                return lower + (bound - lower) * rank / calls
            rank -= calls
            lower = bound
        return lower


def read(meter: Meter) -> dict[str, StatementMetrics]:
    """Read the metrics by fingerprint."""
    found: dict[str, StatementMetrics] = {}
    slow: dict[str, int] = {}
    for total in meter.collect():
        if total.metric.name == DB_OPERATION_DURATION.name:
            for labels, row in _rows(total.series):
                one = found.setdefault(
                    labels["db_query_fingerprint"], StatementMetrics(labels["db_query_summary"])
                )
                *counts, seconds = row
                calls = int(sum(counts))
                one.calls += calls
                one.seconds += seconds
                one.failed += calls if labels["error_type"] else 0
                one.bounds = total.metric.bounds
                old = one.buckets or [0.0] * len(counts)
                one.buckets = [a + b for a, b in zip(old, counts, strict=True)]
        elif total.metric.name == DB_SLOW_QUERIES.name:
            slow = {
                labels["db_query_fingerprint"]: int(row[0]) for labels, row in _rows(total.series)
            }
    for fingerprint, one in found.items():
        one.slow = slow.get(fingerprint, 0)
    return {fingerprint: one for fingerprint, one in found.items() if one.calls}


def _rows(rows: list[AggregatedSeries]) -> Iterator[tuple[dict[str, str], list[float]]]:
    for row in rows:
        pairs = _LABEL.findall(row.labels)
        labels = {
            name: re.sub(r"\\.", lambda found: _ESCAPED.get(found[0], found[0]), value)
            for name, value in pairs
        }
        yield labels, row.values
