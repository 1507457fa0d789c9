"""Table and alert list panels."""

from dataclasses import dataclass
from typing import Any

from grafanalib import core

from dashboards.grafana import Json
from dashboards.panels.panel import VISIBLE, Panel


@dataclass(frozen=True, kw_only=True)
class Table(Panel):
    """Table panel.

    Attributes:
        columns: Titles by column name, in display order. The name is a label, or ``Value #A`` for
            the value of query A; plain ``Value`` if there is only one query.
        sort: Titles of the columns to sort by, descending if True.
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

    def _grafana_options(self) -> tuple[Json, Json, Json]:
        custom = {"cellOptions": {"type": "auto"}, "hideFrom": VISIBLE, "inspect": False}
        options = {
            "cellHeight": "sm",
            "frameIndex": 0,
            "sortBy": [{"displayName": title, "desc": down} for title, down in self.sort],
        }
        return {"color": {"mode": "thresholds"}}, custom, options


@dataclass(frozen=True, kw_only=True)
class AlertList(Panel):
    """Grafana's alert list panel, with the alerts of the data source.

    Attributes:
        labels: Prometheus matchers of the alerts: ``{job="api"}``.
    """

    labels: str = ""
    width: int = 12

    def _base(self, frame: Json) -> Any:
        frame["extraJson"]["type"] = "alertlist"
        return core.Panel(**frame).panel_json({})

    def _grafana_options(self) -> tuple[Json, Json, Json]:
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
