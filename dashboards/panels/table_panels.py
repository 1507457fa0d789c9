"""Panels that list things."""

from dataclasses import dataclass
from typing import Any

from grafanalib import core

from dashboards.grafana import Json
from dashboards.panels.panel import VISIBLE, Panel


@dataclass(frozen=True, kw_only=True)
class Table(Panel):
    """Rows and columns.

    Attributes:
        columns: Which columns are shown, in this order: from the query's name of a column (a
            label, or ``Value #A`` for the value of query A; plain ``Value`` if there is but one
            query) to the title.
        sort: Titles of the columns by which rows are sorted, largest first if True.
    """

    columns: dict[str, str]
    sort: tuple[tuple[str, bool], ...] = ()
    empty: str = "none"
    width: int = 12

    def _base(self, frame: Json) -> Any:
        frame["transformations"] = [
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": {"Time": True},
                    "includeByName": {},
                    "indexByName": {name: place for place, name in enumerate(self.columns)},
                    "renameByName": dict(self.columns),
                },
            },
        ]
        table = core.Table(**frame).to_json_data()
        # Grafana prefers this key of version 8 to the cellOptions that replaced it.
        del table["fieldConfig"]["defaults"]["custom"]["displayMode"]
        return table

    def _differences(self) -> tuple[Json, Json, Json]:
        custom = {"cellOptions": {"type": "auto"}, "hideFrom": VISIBLE, "inspect": False}
        options = {
            "cellHeight": "sm",
            "frameIndex": 0,
            "sortBy": [{"displayName": title, "desc": down} for title, down in self.sort],
        }
        return {"color": {"mode": "thresholds"}}, custom, options


@dataclass(frozen=True, kw_only=True)
class AlertList(Panel):
    """Grafana's own list of alerts, those of the data source included.

    Attributes:
        labels: Which alerts, as Prometheus matchers: ``{job="api"}``.
    """

    labels: str = ""
    width: int = 12

    def _base(self, frame: Json) -> Any:
        frame["extraJson"]["type"] = "alertlist"
        return core.Panel(**frame).panel_json({})

    def _differences(self) -> tuple[Json, Json, Json]:
        options = {
            "alertInstanceLabelFilter": self.labels,
            "alertName": "",
            "dashboardAlerts": False,
            "groupBy": [],
            "groupMode": "default",
            "maxItems": 50,
            "sortOrder": 3,  # by importance
            "stateFilter": {
                "error": True,
                "firing": True,
                "noData": False,
                "normal": False,
                "pending": True,
                "recovering": True,
            },
            "viewMode": "list",
        }
        return {}, {}, options
