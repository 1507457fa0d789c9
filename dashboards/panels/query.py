"""PromQL query of a panel."""

from dataclasses import dataclass
from typing import Literal

from grafanalib import core

from dashboards.grafana import DATASOURCE, Json, to_grafana_json

_KEYS = frozenset({"datasource", "expr", "format", "instant", "legendFormat", "refId"})


@dataclass(frozen=True)
class Query:
    """A query of a panel.

    Attributes:
        expr: PromQL, written with metric declarations and signals.
        legend: The name of the series; ``{{label}}`` is filled in.
        instant: An instant query instead of a range query.
        exemplar: Also fetch exemplars, dots that open a trace. Only raw ``_bucket`` series have
            them: recording rules drop exemplars.
        form: The result format.
    """

    expr: str
    legend: str = ""
    instant: bool = False
    exemplar: bool = False
    form: Literal["time_series", "table", "heatmap"] = "time_series"

    def draw(self, ref: str) -> Json:
        """Write the target; ``ref`` is the letter by which table columns refer to it."""
        target = core.Target(
            datasource=DATASOURCE,
            expr=self.expr,
            format=self.form,
            instant=self.instant,
            legendFormat=self.legend,
            refId=ref,
        )
        return {
            **to_grafana_json(target, _KEYS),
            "editorMode": "code",
            "exemplar": self.exemplar,
            "range": not self.instant,
        }


def instant_query(expr: str, legend: str = "") -> Query:
    """An instant query of the current value."""
    return Query(expr, legend, instant=True)


def table_query(expr: str) -> Query:
    """An instant query in table format: one row per series, one column per label."""
    return Query(expr, instant=True, form="table")
