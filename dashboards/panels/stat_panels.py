"""Stat, gauge and bar gauge panels."""

from dataclasses import dataclass
from typing import Any

from grafanalib import core

from dashboards.grafana import Json
from dashboards.panels.data_states import explained, mappings
from dashboards.panels.panel import Panel
from dashboards.panels.query import Query

_LAST: Json = {"calcs": ["lastNotNull"], "fields": "", "values": False}


@dataclass(frozen=True, kw_only=True)
class Tile(Panel):
    """A panel of current values; says why it has none.

    Attributes:
        counts_targets: Whether it shows the targets themselves: one that is down is a value then.
    """

    counts_targets: bool = False

    @property
    def drawn_queries(self) -> tuple[Query, ...]:
        """Its queries, of targets that answer, or the reason that there is no value."""
        return self.queries if self.counts_targets else explained(self.queries)

    @property
    def _defaults(self) -> Json:
        return {"color": {"mode": "thresholds"}, "mappings": mappings(self.empty)}


@dataclass(frozen=True, kw_only=True)
class Stat(Tile):
    """Stat panel; shows names if there are several queries."""

    width: int = 4
    height: int = 4

    def _base(self, frame: Json) -> Any:
        return core.Stat(
            **frame,
            graphMode="none",
            reduceCalc="lastNotNull",
            textMode="value_and_name" if len(self.queries) > 1 else "value",
        )

    def _grafana_options(self) -> tuple[Json, Json, Json]:
        options = {
            "percentChangeColorMode": "standard",
            "showPercentChange": False,
            "wideLayout": True,
        }
        return self._defaults, {}, options


@dataclass(frozen=True, kw_only=True)
class Gauge(Tile):
    """Gauge panel from ``low`` to ``high``. grafanalib's own writes no ``reduceOptions``."""

    low: float | None = 0
    high: float | None = 1
    width: int = 4
    height: int = 6

    def _base(self, frame: Json) -> Any:
        frame["extraJson"]["type"] = "gauge"
        return core.Panel(**frame).panel_json({})

    def _grafana_options(self) -> tuple[Json, Json, Json]:
        options = {
            "barShape": "flat",
            "barWidthFactor": 0.5,
            "effects": {},
            "minVizHeight": 75,
            "minVizWidth": 75,
            "orientation": "auto",
            "reduceOptions": _LAST,
            "segmentCount": 1,
            "segmentSpacing": 0.3,
            "shape": "gauge",
            "showThresholdLabels": False,
            "showThresholdMarkers": True,
            "sizing": "auto",
        }
        return self._defaults, {}, options


@dataclass(frozen=True, kw_only=True)
class BarGauge(Tile):
    """Bar gauge panel: a bar per series from ``low`` to ``high``."""

    low: float | None = 0
    high: float | None = 1
    width: int = 4
    height: int = 4

    def _base(self, frame: Json) -> Any:
        frame["extraJson"]["type"] = "bargauge"
        return core.Panel(**frame).panel_json({})

    def _grafana_options(self) -> tuple[Json, Json, Json]:
        options = {
            "displayMode": "basic",
            "legend": {
                "calcs": [],
                "displayMode": "list",
                "placement": "bottom",
                "showLegend": False,
            },
            "maxVizHeight": 300,
            "minVizHeight": 16,
            "minVizWidth": 8,
            "namePlacement": "auto",
            "orientation": "horizontal",
            "reduceOptions": _LAST,
            "showUnfilled": True,
            "sizing": "auto",
            "text": {"titleSize": 14, "valueSize": 18},  # else they grow with the panel
            "valueMode": "color",
        }
        return self._defaults, {}, options
