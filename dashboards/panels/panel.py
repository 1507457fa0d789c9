"""Base class of all panels, time series and heatmap panels."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from grafanalib import core

from dashboards.grafana import DATASOURCE, PANEL_KEYS, Json, to_grafana_json
from dashboards.panels.query import Query
from dashboards.style import NEUTRAL, Colour, Override, Step

COLUMNS = 24
"""The width of Grafana's grid."""
VISIBLE: Json = {"legend": False, "tooltip": False, "viz": False}


@dataclass(frozen=True, kw_only=True)
class Panel(ABC):
    """Base class of a panel; panel types add their own fields.

    Attributes:
        id: Its number on the board; never changed, for links to the panel use it.
        title: Its title.
        description: What it means and what to do about it.
        unit: Grafana's name of the unit: ``s``, ``reqps``, ``percentunit``, ``short``.
        queries: Its queries; table columns refer to them as A, B, C.
        width: Columns of 24.
        height: Rows of about 30 pixels.
        decimals: Decimals; None lets Grafana choose.
        low: Minimum of the axis or gauge.
        high: Maximum.
        steps: Thresholds, ascending.
        overrides: Overrides of single series.
        empty: Text shown without data; it should say so if that is good.
    """

    id: int
    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    width: int = 8
    height: int = 8
    decimals: int | None = None
    low: float | None = None
    high: float | None = None
    steps: tuple[Step, ...] = NEUTRAL
    overrides: tuple[Override, ...] = ()
    empty: str = "no data"

    def __post_init__(self) -> None:
        for name in ("title", "description", "unit"):
            if not getattr(self, name):
                raise ValueError(f"panel {self.id} {self.title!r}: give it a {name}")
        if not (0 < self.width <= COLUMNS and self.height > 0):
            raise ValueError(f"panel {self.title!r}: {self.width} columns do not fit {COLUMNS}")

    def draw(self, x: int, y: int) -> Json:
        """Write the panel at a grid position."""
        frame = {
            "dataSource": DATASOURCE,
            "description": self.description,
            "gridPos": core.GridPos(h=self.height, w=self.width, x=x, y=y),
            "id": self.id,
            "maxDataPoints": None,
            "targets": [
                query.draw(ref)
                for ref, query in zip(ascii_uppercase, self.drawn_queries, strict=False)
            ],
            "thresholds": [step.draw() for step in self.steps],
            "title": self.title,
            "transformations": [],
        }
        defaults, custom, options = self._grafana_options()
        field = {
            "decimals": self.decimals,
            "max": self.high,
            "min": self.low,
            "noValue": self.empty,
            "unit": self.unit,
        }
        frame["extraJson"] = {
            "fieldConfig": {
                "defaults": {**field, "mappings": [], "custom": custom, **defaults},
                "overrides": [override.draw() for override in self.overrides],
            },
            "options": options,
        }
        return to_grafana_json(self._base(frame), PANEL_KEYS)

    @property
    def drawn_queries(self) -> tuple[Query, ...]:
        """Its queries as the board has them."""
        return self.queries

    @abstractmethod
    def _base(self, frame: Json) -> Any:
        """Build grafanalib's panel of this type."""

    @abstractmethod
    def _grafana_options(self) -> tuple[Json, Json, Json]:
        """What grafanalib does not write: field defaults, their custom options, options."""


@dataclass(frozen=True, kw_only=True)
class TimeSeries(Panel):
    """Time series panel.

    Attributes:
        stacked: Stack the series; the outline is their sum.
        soft_high: Soft maximum of the axis, so that noise does not fill the graph.
        limits: Draw a dashed line at each threshold.
        tint: Draw every series in a shade of this colour, so that no instance looks bad by the
            colour that it happened to get.
        links: Data links of the points.
    """

    stacked: bool = False
    soft_high: float | None = None
    limits: bool = False
    tint: Colour | None = None
    links: tuple[Json, ...] = ()
    low: float | None = 0

    def _base(self, frame: Json) -> Any:
        return core.TimeSeries(
            **frame,
            colorMode="palette-classic-by-name",  # a series keeps its colour when others appear
            fillOpacity=60 if self.stacked else 0,
            legendCalcs=["lastNotNull"],
            showPoints="never",
            stacking={"group": "A", "mode": "normal" if self.stacked else "none"},
            thresholdsStyleMode="dashed" if self.limits else "off",
            tooltipMode="multi",
            tooltipSort="desc",
        )

    def _grafana_options(self) -> tuple[Json, Json, Json]:
        defaults: Json = {"links": list(self.links)} if self.links else {}
        if self.tint:
            defaults["color"] = {"mode": "shades", "fixedColor": self.tint.value}
        custom = {"axisSoftMax": self.soft_high, "scaleDistribution": {"type": "linear"}}
        return defaults, custom, {"legend": {"showLegend": True}}


@dataclass(frozen=True, kw_only=True)
class Heatmap(Panel):
    """Heatmap panel of a histogram; ``unit`` is that of the bucket bounds.

    grafanalib's own writes the options of the Angular panel, so this one starts from the base.
    """

    def _base(self, frame: Json) -> Any:
        frame["extraJson"]["type"] = "heatmap"
        return core.Panel(**frame).panel_json({})

    def _grafana_options(self) -> tuple[Json, Json, Json]:
        options = {
            "calculate": False,
            "cellGap": 1,
            "cellValues": {"unit": "reqps"},
            "color": {
                "exponent": 0.5,
                "fill": "dark-orange",
                "mode": "scheme",
                "reverse": False,
                "scale": "exponential",
                "scheme": "Viridis",
                "steps": 64,
            },
            "exemplars": {"color": "#FFFFFF"},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "showValue": "never",
            "tooltip": {"mode": "single", "showColorScale": False, "yHistogram": True},
            "yAxis": {"axisPlacement": "left", "reverse": False, "unit": self.unit},
        }
        return {}, {"hideFrom": VISIBLE, "scaleDistribution": {"type": "linear"}}, options
