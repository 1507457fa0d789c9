"""Rules of style that keep boards true for every service, after Grafana's dashboard-linter.

Of its rules those that the schemas do not hold already. Counters are told by their declaration,
not by the end of their text.
"""

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import promql_parser as promql
import pytest

from dashboards.board import Board
from dashboards.boards.registry import BOARDS
from dashboards.grafana import Json
from dashboards.rendered_queries import fill_in, panels
from tests.contract.promql import PROVIDED, series_in, series_of
from vitals.metrics.catalogue import CATALOGUE
from vitals.metrics.declarations import Counter, Histogram

COUNTERS = {
    name
    for metric in CATALOGUE.values()
    if isinstance(metric, Counter | Histogram)
    for name in series_of(metric)
}
OF_COUNTERS = {"rate", "increase", "irate", "resets"}
MARK = "chosen-"
"""Variables are filled in with words that show where they stand."""


def _expressions(board: Json) -> Iterator[tuple[str, str]]:
    names = [variable["name"] for variable in board["templating"]["list"]]
    choices = {name: MARK + name for name in names} | {"__rate_interval": "1m"}
    for panel in panels(board):
        for target in panel["targets"]:
            yield panel["title"], fill_in(target["expr"], choices)


def _selectors(node: Any, function: str = "") -> Iterator[tuple[Any, str]]:
    """Every selector, and the function that takes its range."""
    if isinstance(node, promql.VectorSelector):
        yield node, function
    inside = node.func.name if isinstance(node, promql.Call) else ""
    for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
        if (child := getattr(node, name, None)) is not None:
            yield from _selectors(child, function if name == "vector_selector" else "")
    for child in getattr(node, "args", ()):
        yield from _selectors(child, inside)


def _all_selectors(board: Json) -> Iterator[tuple[str, Any, str]]:
    for title, expr in _expressions(board):
        for selector, function in _selectors(promql.parse(expr)):
            yield title, selector, function


def the_data_source_is_chosen_first(board: Json) -> list[str]:
    """Else a board shows one Prometheus for ever."""
    first = board["templating"]["list"][0]
    return [] if first["type"] == "datasource" else [f"first is ${first['name']}"]


def choices_follow_the_time_range(board: Json) -> list[str]:
    """A service that was there last week is offered only then."""
    offered = (each for each in board["templating"]["list"] if each["type"] == "query")
    return [f"${each['name']}" for each in offered if each["refresh"] != 2]


def all_panels_ask(board: Json) -> list[str]:
    """Grafana's own list of alerts asks by itself."""
    return [p["title"] for p in panels(board) if not p["targets"] and p["type"] != "alertlist"]


def every_selector_is_of_the_chosen_service(board: Json) -> list[str]:
    """Else services would be added up."""
    return [
        f"{title}: {selector}"
        for title, selector, _ in _all_selectors(board)
        if not _narrows(selector, "job")
    ]


def every_selector_is_of_the_chosen_instances(board: Json) -> list[str]:
    """Where instances are offered; what is recorded speaks of the whole service."""
    if "instance" not in {variable["name"] for variable in board["templating"]["list"]}:
        return []
    return [
        f"{title}: {selector}"
        for title, expr in _expressions(board)
        if not any(":" in name for name in series_in(expr))
        for selector, _ in _selectors(promql.parse(expr))
        if "instance" in PROVIDED[selector.name] and not _narrows(selector, "instance")
    ]


def _narrows(selector: Any, label: str) -> bool:
    return any(
        matcher.name == label and MARK + label in matcher.value
        for matcher in selector.matchers.matchers
    )


def counters_are_only_looked_at_as_rates(board: Json) -> list[str]:
    """A counter's value says since when the process runs, no more."""
    return [
        f"{title}: {selector}"
        for title, selector, function in _all_selectors(board)
        if selector.name in COUNTERS and function not in OF_COUNTERS
    ]


def tables_and_figures_ask_for_now(board: Json) -> list[str]:
    """A value_colour of a whole range costs as much as a graph, and shows its last point."""
    now = {"stat", "gauge", "bargauge", "table"}
    return [
        panel["title"]
        for panel in panels(board)
        for target in panel["targets"]
        if target["instant"] != (panel["type"] in now)
    ]


Rule = Callable[[Json], list[str]]
RULES: dict[Rule, Callable[[Json], None]] = {
    the_data_source_is_chosen_first: lambda board: board["templating"]["list"].reverse(),
    choices_follow_the_time_range: lambda board: board["templating"]["list"][1].update(refresh=1),
    all_panels_ask: lambda board: board["panels"][0].update(targets=[]),
    every_selector_is_of_the_chosen_service: lambda board: _put(board, "sum(up)"),
    every_selector_is_of_the_chosen_instances: lambda board: _put(
        board, 'process_open_fds{job="$job"}'
    ),
    counters_are_only_looked_at_as_rates: lambda board: _put(
        board, 'slo_events_total{job="$job", instance=~"$instance"} > 0'
    ),
    tables_and_figures_ask_for_now: lambda board: board["panels"][0]["targets"][0].update(
        instant=False
    ),
}
"""Each rule, and a mistake that it must notice."""


def _put(board: Json, expr: str) -> None:
    board["panels"][0]["targets"][0]["expr"] = expr


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_boards_keep_the_rules(rule: Rule, board: Board) -> None:
    assert rule(board.draw()) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_notices_its_mistake(rule: Rule) -> None:
    (runtime,) = (board for board in BOARDS if board.uid == "svc-runtime")
    spoilt = deepcopy(runtime.draw())
    RULES[rule](spoilt)
    assert len(rule(spoilt)) == 1


def test_data_links_keep_the_service_and_the_time() -> None:
    for board in BOARDS:
        for url in re.findall(r"/d/[^'\"]+", str(board.draw())):
            assert "${datasource:queryparam}&${job:queryparam}&${__url_time_range}" in url
