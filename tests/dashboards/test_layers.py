"""The layer over grafanalib: layout, ids, required fields."""

from dataclasses import replace
from typing import Any

import pytest

from dashboards.board import Board, Row
from dashboards.panels.panel import Heatmap, Panel, TimeSeries
from dashboards.panels.query import Query
from dashboards.panels.stat_panels import Stat

STAT = Stat(
    id=1,
    title="Instances",
    description="How many instances there are.",
    unit="short",
    queries=(Query("up", "{{instance}}"),),
)


def _board(*rows: Row) -> Board:
    return Board(uid="svc-x", title="Board", description="A board.", rows=rows, variables=())


def test_panels_wrap_at_the_width_of_the_grid() -> None:
    wide, high = replace(STAT, id=2, width=20), replace(STAT, id=3, height=9)
    drawn = _board(Row((STAT, wide, high, replace(STAT, id=4)))).draw()
    places = [tuple(panel["gridPos"][side] for side in "xywh") for panel in drawn["panels"]]
    assert places == [(0, 0, 4, 4), (4, 0, 20, 4), (0, 4, 4, 9), (4, 4, 4, 4)]


def test_a_row_begins_below_the_one_before() -> None:
    below = Row((replace(STAT, id=2),), title="Details", id=3)
    drawn = _board(Row((STAT,)), below).draw()
    assert [panel["gridPos"]["y"] for panel in drawn["panels"]] == [0, 4, 5]


def test_a_collapsed_row_holds_its_panels() -> None:
    first = Row((STAT,), title="Details", id=2, collapsed=True)
    drawn = _board(first, Row((replace(STAT, id=3),))).draw()
    assert [(p["type"], p["gridPos"]["y"]) for p in drawn["panels"]] == [("row", 0), ("stat", 1)]
    assert [panel["id"] for panel in drawn["panels"][0]["panels"]] == [1]


def test_ids_are_unique() -> None:
    with pytest.raises(ValueError, match="'Other' and 'Instances' both have the id 1"):
        _board(Row((STAT, replace(STAT, title="Other"))))


@pytest.mark.parametrize("lost", ["title", "description", "unit"])
def test_a_panel_has_title_description_and_unit(lost: str) -> None:
    nothing: dict[str, Any] = {lost: ""}
    with pytest.raises(ValueError, match=f"give it a {lost}"):
        replace(STAT, **nothing)


def test_a_panel_fits_the_grid() -> None:
    with pytest.raises(ValueError, match="25 columns do not fit 24"):
        replace(STAT, width=25)


def test_a_header_has_title_and_id() -> None:
    with pytest.raises(ValueError, match="a title and an id"):
        Row((STAT,), title="Details")


@pytest.mark.parametrize("kind", [TimeSeries, Heatmap])
def test_queries_get_letters_in_order(kind: type[Panel]) -> None:
    panel = kind(
        id=1,
        title="Durations",
        description="How long it takes.",
        unit="s",
        queries=(Query("a", "first", exemplar=True), Query("b", instant=True)),
    )
    one, other = panel.draw(0, 0)["targets"]
    assert (one["refId"], one["exemplar"], one["range"], one["instant"]) == ("A", True, True, False)
    assert (other["refId"], other["range"], other["instant"]) == ("B", False, True)
