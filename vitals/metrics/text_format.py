"""Figures as text: Prometheus' 0.0.4 and OpenMetrics 1.0.

Each metric's lines are made once, with gaps for the labels and the figures; a series then costs
one formatting and one replacement, however many buckets it has.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md
"""

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import accumulate

from vitals.metrics.aggregation import Exemplar, Identity, Row, Total

_LABELS = "\0"
"""The gap for labels; filled last, so that what labels say is not read again."""

KEPT = 500
"""Metrics whose lines are kept."""


def render(totals: Iterable[Total], *, as_openmetrics: bool = False) -> Iterator[str]:
    """Metrics as text, one piece each, without OpenMetrics' end mark."""
    for metric, rows in totals:
        head, lines = _lines(metric, as_openmetrics)
        if metric.kind == "histogram":
            pieces = list(_histograms(lines, rows, exemplars=as_openmetrics))
        else:
            pieces = [
                (lines % number(values[0])).replace(_LABELS, labels) for labels, values, _ in rows
            ]
        yield head + "".join(pieces)


def family_name(metric: Identity) -> str:
    """The name as OpenMetrics and prometheus_client call a family: a counter's without _total."""
    return metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name


def number(value: float) -> str:
    """A figure as both formats write it."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return repr(float(value))


@lru_cache(maxsize=KEPT)
def _lines(metric: Identity, as_openmetrics: bool) -> tuple[str, str]:  # noqa: FBT001
    """What introduces a metric, and the lines of one series with gaps."""
    name = metric.name
    help_ = metric.help.replace("\\", "\\\\").replace("\n", "\\n")
    shown = family_name(metric) if as_openmetrics else name
    head = f"# HELP {shown} {help_}\n# TYPE {shown} {metric.kind}\n"
    braces = f"{{{_LABELS}}}" if metric.labels else ""
    if metric.kind != "histogram":
        return head, f"{name}{braces} %s\n"
    labels = f"{_LABELS}," if metric.labels else ""
    gap = "%d%s" if as_openmetrics else "%d"
    buckets = "".join(
        f'{name}_bucket{{{labels}le="{number(bound)}"}} {gap}\n'
        for bound in (*metric.bounds, math.inf)
    )
    return head, f"{buckets}{name}_count{braces} %d\n{name}_sum{braces} %s\n"


def _histograms(lines: str, rows: list[Row], *, exemplars: bool) -> Iterator[str]:
    for labels, values, examples in rows:
        total = number(values.pop())
        buckets = list(accumulate(values))
        figures: list[object] = list(buckets)
        if exemplars:
            said = map(_exemplar, examples) if examples else [""] * len(buckets)
            figures = [part for pair in zip(buckets, said, strict=True) for part in pair]
        yield (lines % (*figures, buckets[-1], total)).replace(_LABELS, labels)


def _exemplar(exemplar: Exemplar | None) -> str:
    if exemplar is None:
        return ""
    trace_id, value, at = exemplar
    return f' # {{trace_id="{trace_id}"}} {value!r} {at:.3f}'
