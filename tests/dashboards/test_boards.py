"""Every board: valid for Grafana, readable, with queries of existing series and labels."""

import json
import re
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from checks.promql import labels_of
from checks.queries import panel_queries
from dashboards.board import Board
from dashboards.boards.registry import BOARDS
from dashboards.grafana import Json
from dashboards.rendered_queries import CHOICES, fill_in, panels

SCHEMA = jsonschema.Draft202012Validator(
    json.loads((Path(__file__).parent / "house.schema.json").read_text())
)
GRAFANAS_OWN = {
    "__rate_interval",
    "__interval",
    "__range",
    "__value",
    "__field",
    "__url_time_range",
    "__from",
    "__to",
    "__data",
    "__all",
}
LEGEND_LABEL = re.compile(r"\{\{(\w+)\}\}")
every_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)


def _drawn(board: Board) -> Json:
    return board.draw()


def _everything(board: Json) -> list[Json]:
    """Rows and panels, those inside collapsed rows too."""
    return [each for panel in board["panels"] for each in (panel, *panel.get("panels", ()))]


def _expressions(board: Json) -> Iterator[str]:
    yield from (expr for _, expr in panel_queries(board))
    for annotation in board["annotations"]["list"]:
        yield fill_in(annotation["target"]["expr"])
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield fill_in(re.sub(r"^label_values\((.*), \w+\)$", r"\1", variable["definition"]))


@every_board
def test_grafana_knows_every_key(board: Board) -> None:
    SCHEMA.validate(_drawn(board))


@every_board
def test_ids_are_unique(board: Board) -> None:
    ids = [panel["id"] for panel in _everything(_drawn(board))]
    assert len(ids) == len(set(ids))


def test_uids_and_titles_of_boards_are_unique() -> None:
    assert len({board.uid for board in BOARDS}) == len(BOARDS)
    assert len({board.title for board in BOARDS}) == len(BOARDS)


@every_board
def test_only_a_base_threshold_is_null(board: Board) -> None:
    def nulls(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
        if node is None:
            yield path
        if isinstance(node, dict | list):
            for key, child in node.items() if isinstance(node, dict) else enumerate(node):
                yield from nulls(child, (*path, key))

    assert {path[-3:] for path in nulls(_drawn(board))} == {("steps", 0, "value")}


@every_board
def test_panels_fit_the_grid_and_do_not_overlap(board: Board) -> None:
    drawn = _drawn(board)
    for level in [drawn["panels"], *(panel.get("panels", []) for panel in drawn["panels"])]:
        places = [(panel["title"], panel["gridPos"]) for panel in level]
        for title, place in places:
            assert place["x"] + place["w"] <= 24, title
        for (one, a), (other, b) in combinations(places, 2):
            apart = (
                a["x"] + a["w"] <= b["x"]
                or b["x"] + b["w"] <= a["x"]
                or a["y"] + a["h"] <= b["y"]
                or b["y"] + b["h"] <= a["y"]
            )
            assert apart, f"{one} lies on {other}"


@every_board
def test_thresholds_ascend(board: Board) -> None:
    for panel in panels(_drawn(board)):
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1:]
        assert all(low["value"] < high["value"] for low, high in pairwise(steps)), panel["title"]


@every_board
def test_every_variable_that_is_used_exists(board: Board) -> None:
    drawn = _drawn(board)
    offered = {variable["name"] for variable in drawn["templating"]["list"]}
    text = json.dumps(drawn)
    used = set(re.findall(r"\$\{?(\w+)", text)) - GRAFANAS_OWN
    assert used <= offered
    assert offered - {"datasource"} <= used, "offered, but changes nothing"


@every_board
def test_every_query_uses_existing_series_and_labels(board: Board) -> None:
    for expr in _expressions(_drawn(board)):
        labels_of(expr)


@every_board
def test_legends_and_columns_name_labels_of_the_result(board: Board) -> None:
    for panel in panels(_drawn(board)):
        label_sets = [labels_of(fill_in(target["expr"])) for target in panel["targets"]]
        for target, labels in zip(panel["targets"], label_sets, strict=True):
            assert set(LEGEND_LABEL.findall(target["legendFormat"])) <= labels, panel["title"]
        if panel["type"] == "table":
            one = len(label_sets) == 1
            values = {"Value" if one else f"Value #{t['refId']}" for t in panel["targets"]}
            (organize,) = (t for t in panel["transformations"] if t["id"] == "organize")
            # All of them, or Grafana would show a column without a title.
            assert set(organize["options"]["renameByName"]) == values.union(*label_sets)


@every_board
def test_overrides_name_series_and_columns_that_may_exist(board: Board) -> None:
    for panel in panels(_drawn(board)):
        legends = {target["legendFormat"] for target in panel["targets"]}
        if any(LEGEND_LABEL.search(legend) for legend in legends):
            continue  # the names are values of labels
        titles = {
            title
            for transformation in panel["transformations"]
            for title in transformation["options"].get("renameByName", {}).values()
        }
        named = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
        sorts = {sort["displayName"] for sort in panel["options"].get("sortBy", ())}
        assert named | sorts <= legends | titles, panel["title"]


@every_board
def test_only_queries_of_raw_buckets_fetch_exemplars(board: Board) -> None:
    for panel in panels(_drawn(board)):
        for target in panel["targets"]:
            if target["exemplar"]:
                assert re.search(r"\b[a-z_]+_bucket\{", target["expr"]), panel["title"]
                assert not re.search(r"\w:\w", fill_in(target["expr"])), panel["title"]


def test_a_latency_panel_has_exemplars() -> None:
    targets = [target for board in BOARDS for p in panels(_drawn(board)) for target in p["targets"]]
    assert any(target["exemplar"] for target in targets)


@every_board
def test_data_links_lead_to_boards_that_exist(board: Board) -> None:
    linked = set(re.findall(r'"url": "/d/([a-z-]+)', json.dumps(_drawn(board))))
    assert linked <= {other.uid for other in BOARDS}


@pytest.mark.usefixtures("every_suite")
def test_prometheus_itself_accepts_every_query(tmp_path: Path) -> None:
    rules = [
        {"record": f"board:{board.uid.replace('-', '_')}:query{number}", "expr": expr}
        for board in BOARDS
        for number, expr in enumerate(_expressions(_drawn(board)))
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "boards", "rules": rules}]}))
    checked = subprocess.run(
        ["promtool", "check", "rules", "--lint=none", file],
        check=False,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout


def test_queries_are_those_of_the_panels_with_variables_filled_in() -> None:
    (overview,) = (board for board in BOARDS if board.uid == "svc-overview")
    queries = panel_queries(_drawn(overview))
    assert ("In flight", 'sum by (instance) (http_server_active_requests{job="api"})') in queries
    assert not [expr for _, expr in queries if "$" in expr]
    with pytest.raises(LookupError, match="planet"):
        fill_in('up{planet="$planet"}', CHOICES)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("panels", 0, "editable"), True),
        (("panels", 0, "datasource"), "prometheus"),
        (("panels", 0, "options", "sparkline"), True),
        (("panels", 0, "targets", 0, "intervalFactor"), 2),
        (("panels", 0, "description"), ""),
        (("panels", 0, "fieldConfig", "defaults", "unit"), "furlongs"),
        (("panels", 0, "fieldConfig", "defaults", "thresholds", "steps", 0, "value"), "null"),
        (("schemaVersion",), 12),
        (("rows",), []),
    ],
)
def test_the_schema_rejects_what_grafana_would_not_read(
    path: tuple[str | int, ...], value: object
) -> None:
    board = deepcopy(_drawn(BOARDS[0]))
    node: Any = board
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    assert list(SCHEMA.iter_errors(board))


def test_a_fingerprint_that_reads_like_a_number_is_shown_as_text() -> None:
    """Cells are parsed as numbers unless their unit is a text's: 4703e95409722697 is infinite."""
    shown = [
        override["properties"]
        for board in BOARDS
        for panel in panels(_drawn(board))
        for override in panel["fieldConfig"]["overrides"]
        if override["matcher"]["options"] == "Fingerprint"
    ]
    assert len(shown) == 6
    assert all({"id": "unit", "value": "string"} in properties for properties in shown)
