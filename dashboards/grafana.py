"""Converts the output of grafanalib to JSON that Grafana 13 reads without migration.

grafanalib 0.7 writes the keys of Grafana 5 to 8 beside the current ones, and null for unset values.
Grafana takes a panel with unknown keys for an Angular panel, and strict parsers reject nulls, so
both are removed here.
"""

import json
from operator import methodcaller
from typing import Any

Json = dict[str, Any]

SCHEMA_VERSION = 42
"""The last version of Grafana's classic board model."""

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
"""The Prometheus selected at the top of the board."""

PANEL_KEYS = frozenset(
    {
        "datasource",
        "description",
        "fieldConfig",
        "gridPos",
        "id",
        "options",
        "targets",
        "title",
        "transformations",
        "type",
    }
)
ROW_KEYS = frozenset({"collapsed", "gridPos", "id", "panels", "title", "type"})
BOARD_KEYS = frozenset(
    {
        "annotations",
        "description",
        "editable",
        "graphTooltip",
        "links",
        "panels",
        "refresh",
        "schemaVersion",
        "tags",
        "templating",
        "time",
        "timepicker",
        "timezone",
        "title",
        "uid",
        "version",
    }
)
VARIABLE_KEYS = frozenset(
    {
        "allValue",
        "current",
        "datasource",
        "hide",
        "includeAll",
        "label",
        "multi",
        "name",
        "options",
        "query",
        "refresh",
        "regex",
        "sort",
        "type",
    }
)


def to_grafana_json(drawn: object, keys: frozenset[str]) -> Json:
    """Encode a grafanalib object; keep the given top-level keys and drop nulls.

    The base step of thresholds keeps its null, which means minus infinity.
    """
    encoded: Json = json.loads(json.dumps(drawn, default=methodcaller("to_json_data")))
    kept = {key: value for key, value in encoded.items() if key in keys}
    pruned: Json = _without_nulls(kept)
    return pruned


def _without_nulls(node: Any, inside: str = "") -> Any:
    if isinstance(node, dict):
        return {
            key: _without_nulls(value, key)
            for key, value in node.items()
            if value is not None or inside == "steps"
        }
    if isinstance(node, list):
        return [_without_nulls(item, inside) for item in node]
    return node
