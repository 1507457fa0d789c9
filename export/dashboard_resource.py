"""Boards as resources of Grafana 13: ``dashboard.grafana.app/v2``.

Its type is published in ``@grafana/schema``.
"""

from itertools import groupby
from typing import Any

from dashboards.grafana import Json
from export.files import MADE_BY

API_VERSION = "dashboard.grafana.app/v2"
_FOLDER = "grafana.app/folder"
_QUERY_VERSION = "v0"
_CURSOR = {0: "Off", 1: "Crosshair", 2: "Tooltip"}
_HIDE = {0: "dontHide", 1: "hideLabel", 2: "hideVariable"}
_REFRESH = {0: "never", 1: "onDashboardLoad", 2: "onTimeRangeChanged"}
_SORT = {0: "disabled", 1: "alphabeticalAsc", 2: "alphabeticalDesc"}
_OF_TARGET = {"datasource", "refId", "hide"}


def resource(board: Json, folder: str) -> Json:
    """Convert a board of the classic model.

    Args:
        board: As `Board.draw` writes it.
        folder: Uid of the folder.
    """
    panels = [
        panel
        for each in board["panels"]
        for panel in ([*each["panels"]] if each["type"] == "row" else [each])
    ]
    return {
        "apiVersion": API_VERSION,
        "kind": "Dashboard",
        "metadata": {
            "name": board["uid"],
            "annotations": {_FOLDER: folder, "vitals/made-by": MADE_BY},
        },
        "spec": {
            "title": board["title"],
            "description": board["description"],
            "editable": board["editable"],
            "preload": False,
            "tags": board["tags"],
            "cursorSync": _CURSOR[board["graphTooltip"]],
            "links": board["links"],
            "timeSettings": {
                "timezone": board["timezone"],
                "from": board["time"]["from"],
                "to": board["time"]["to"],
                "autoRefresh": board["refresh"],
                "autoRefreshIntervals": board["timepicker"]["refresh_intervals"],
                "hideTimepicker": False,
                "fiscalYearStartMonth": 0,
            },
            "variables": [_variable(each) for each in board["templating"]["list"]],
            "annotations": [_annotation(each) for each in board["annotations"]["list"]],
            "elements": {_name(panel): _panel(panel) for panel in panels},
            "layout": _layout(board["panels"]),
        },
    }


def _name(panel: Json) -> str:
    return f"panel-{panel['id']}"


def _query(query: Json, datasource: Json) -> Json:
    return {
        "kind": "DataQuery",
        "group": datasource["type"],
        "version": _QUERY_VERSION,
        "datasource": {"name": datasource["uid"]},
        "spec": {name: value for name, value in query.items() if name not in _OF_TARGET},
    }


def _variable(variable: Json) -> Json:
    common = {
        "name": variable["name"],
        "label": variable["label"],
        "hide": _HIDE[variable["hide"]],
        "skipUrlSync": False,
        "current": variable.get("current") or {"text": "", "value": ""},
        "options": [],
        "multi": variable["multi"],
        "includeAll": variable["includeAll"],
        "refresh": _REFRESH[variable["refresh"]],
        "regex": variable["regex"],
        "allowCustomValue": True,
        **({"allValue": variable["allValue"]} if "allValue" in variable else {}),
    }
    if variable["type"] == "datasource":
        return {"kind": "DatasourceVariable", "spec": {**common, "pluginId": variable["query"]}}
    return {
        "kind": "QueryVariable",
        "spec": {
            **common,
            "query": _query(variable["query"], variable["datasource"]),
            "definition": variable["definition"],
            "sort": _SORT[variable["sort"]],
        },
    }


def _annotation(annotation: Json) -> Json:
    return {
        "kind": "AnnotationQuery",
        "spec": {
            "name": annotation["name"],
            "enable": annotation["enable"],
            "hide": annotation["hide"],
            "iconColor": annotation["iconColor"],
            "query": _query(annotation["target"], annotation["datasource"]),
            "legacyOptions": {"titleFormat": annotation["titleFormat"]},
        },
    }


def _panel(panel: Json) -> Json:
    queries = [
        {
            "kind": "PanelQuery",
            "spec": {
                "refId": target["refId"],
                "hidden": bool(target.get("hide", False)),
                "query": _query(target, target["datasource"]),
            },
        }
        for target in panel.get("targets", ())
    ]
    transformations = [
        {"kind": "Transformation", "group": each["id"], "spec": {"options": each["options"]}}
        for each in panel.get("transformations", ())
    ]
    return {
        "kind": "Panel",
        "spec": {
            "id": panel["id"],
            "title": panel["title"],
            "description": panel.get("description", ""),
            "links": [],
            "data": {
                "kind": "QueryGroup",
                "spec": {
                    "queries": queries,
                    "transformations": transformations,
                    "queryOptions": {},
                },
            },
            "vizConfig": {
                "kind": "VizConfig",
                "group": panel["type"],
                "version": "",
                "spec": {"options": panel["options"], "fieldConfig": panel["fieldConfig"]},
            },
        },
    }


def _layout(panels: list[Json]) -> Json:
    """Rows: what stands under a header until the next; the first may have none."""
    rows = [_row({}, [])]
    for is_header, group in groupby(panels, key=lambda each: each["type"] == "row"):
        for each in group:
            if is_header:
                rows.append(_row(each, each["panels"]))
            else:
                rows[-1]["spec"]["layout"]["spec"]["items"].append(_item(each))
    for row in rows:
        items = row["spec"]["layout"]["spec"]["items"]
        top = min((item["spec"]["y"] for item in items), default=0)
        for item in items:
            item["spec"]["y"] -= top
    filled = [row for row in rows if row["spec"]["layout"]["spec"]["items"]]
    return {"kind": "RowsLayout", "spec": {"rows": filled}}


def _row(header: Json, panels: list[Json]) -> dict[str, Any]:
    return {
        "kind": "RowsLayoutRow",
        "spec": {
            "title": header.get("title", ""),
            "collapse": header.get("collapsed", False),
            "hideHeader": not header,
            "layout": {
                "kind": "GridLayout",
                "spec": {"items": [_item(panel) for panel in panels]},
            },
        },
    }


def _item(panel: Json) -> Json:
    place = panel["gridPos"]
    return {
        "kind": "GridLayoutItem",
        "spec": {
            "x": place["x"],
            "y": place["y"],
            "width": place["w"],
            "height": place["h"],
            "element": {"kind": "ElementReference", "name": _name(panel)},
        },
    }
