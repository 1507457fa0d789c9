"""One PromQL query of a panel."""

from dataclasses import dataclass
from typing import Literal

from grafanalib import core

from dashboards.grafana import DATASOURCE, Json, modern

_KEYS = frozenset({"datasource", "expr", "format", "instant", "legendFormat", "refId"})


@dataclass(frozen=True)
class Query:
    """What to ask Prometheus.

    Attributes:
        expr: PromQL, written through declarations and signals.
        legend: The name of the series; ``{{label}}`` is filled in.
        instant: Ask for now instead of for the time range.
        exemplar: Also fetch exemplars, dots that open a trace. They belong to raw ``_bucket``
            series: recording rules lose them.
        form: How the answer is shaped for the panel.
    """

    expr: str
    legend: str = ""
    instant: bool = False
    exemplar: bool = False
    form: Literal["time_series", "table", "heatmap"] = "time_series"

    def draw(self, ref: str) -> Json:
        """Write the target; ``ref`` is the letter by which columns of a table call it."""
        target = core.Target(
            datasource=DATASOURCE,
            expr=self.expr,
            format=self.form,
            instant=self.instant,
            legendFormat=self.legend,
            refId=ref,
        )
        return {
            **modern(target, _KEYS),
            "editorMode": "code",
            "exemplar": self.exemplar,
            "range": not self.instant,
        }


def now(expr: str, legend: str = "") -> Query:
    """Ask for the present value."""
    return Query(expr, legend, instant=True)


def rows(expr: str) -> Query:
    """Ask for the present values as rows of a table, one column a label."""
    return Query(expr, instant=True, form="table")
