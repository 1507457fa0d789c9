"""Every board is valid by the schema written from Grafana's published types."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dashboards.board import Board
from dashboards.boards.registry import BOARDS
from dashboards.grafana import Json
from dashboards.rendered_queries import panels

GRAFANA = Path(__file__).parents[2] / "grafana"
SCHEMA = jsonschema.Draft7Validator(json.loads((GRAFANA / "schema/board.schema.json").read_text()))
KINDS = ("alertlist", "bargauge", "gauge", "heatmap", "stat", "table", "timeseries")
DRAWN = [board.draw() for board in BOARDS]


def _holding(kind: str) -> Json:
    """A board with one panel, of the given type."""
    for board in DRAWN:
        for panel in panels(board):
            if panel["type"] == kind:
                return deepcopy({**board, "panels": [panel]})
    raise LookupError(f"no board has a {kind}")


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_boards_are_valid(board: Board) -> None:
    SCHEMA.validate(board.draw())


def test_all_panel_types_that_boards_use_are_tested() -> None:
    assert {panel["type"] for board in DRAWN for panel in panels(board)} == {*KINDS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("span",), 4),
        (("gridPos", "w"), "12"),
        (("datasource",), "prometheus"),
        (("fieldConfig", "defaults", "unitt"), "s"),
        (("fieldConfig", "defaults", "custom", "colour"), "red"),
        (("fieldConfig", "defaults", "color", "mode"), "rainbow"),
        (("fieldConfig", "defaults", "thresholds", "mode"), "relative"),
        (("fieldConfig", "overrides"), {}),
    ],
)
def test_an_invalid_panel_of_any_type_is_rejected(
    kind: str, path: tuple[str, ...], value: object
) -> None:
    board = _holding(kind)
    assert SCHEMA.is_valid(board)
    _spoil(board, ("panels", 0, *path), value)
    assert not SCHEMA.is_valid(board)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("bargauge", ("options", "displayMode"), "basics"),
        ("gauge", ("options", "reduceOptions"), None),
        ("heatmap", ("options", "color", "mode"), "schemes"),
        ("heatmap", ("options", "sparkline"), True),
        ("stat", ("options", "textMode"), "values"),
        ("stat", ("options", "sparkline"), True),
        ("table", ("options", "sortBy"), "Route"),
        ("table", ("fieldConfig", "defaults", "custom", "cellOptions", "type"), "colour"),
        ("timeseries", ("options", "legend", "placement"), "left"),
        ("timeseries", ("fieldConfig", "defaults", "custom", "drawStyle"), "lines"),
        ("timeseries", ("targets", 0, "exemplar"), "yes"),
        ("timeseries", ("targets", 0, "intervalFactor"), 2),
    ],
)
def test_an_invalid_option_of_one_panel_type_is_rejected(
    kind: str, path: tuple[str | int, ...], value: object
) -> None:
    board = _holding(kind)
    _spoil(board, ("panels", 0, *path), value)
    assert not SCHEMA.is_valid(board)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("rows",), []),
        (("graphTooltip",), 7),
        (("templating", "list", 0, "type"), "datasources"),
        (("annotations", "list", 0, "enable"), "yes"),
        (("links", 0, "keepTime"), 1),
    ],
)
def test_an_invalid_board_is_rejected(path: tuple[str | int, ...], value: object) -> None:
    board = deepcopy(DRAWN[0])
    _spoil(board, path, value)
    assert not SCHEMA.is_valid(board)


def test_schema_and_viewer_are_of_one_version_of_grafana() -> None:
    schema, viewer = (
        json.loads((GRAFANA / folder / "package.json").read_text())["dependencies"]
        for folder in ("schema", "viewer")
    )
    assert schema["@grafana/schema"] == viewer["@grafana/schema"]


def _spoil(node: Any, path: tuple[Any, ...], value: object) -> None:
    for key in path[:-1]:
        node = node[key] if isinstance(node, list) else node.setdefault(key, {})
    node[path[-1]] = value
