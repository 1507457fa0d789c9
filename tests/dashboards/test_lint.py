"""Lint rules for boards, after Grafana's dashboard-linter.

Those of its rules that the schemas do not check already. Counters are known by their declaration,
not by the suffix of their name.
"""

import json
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any
from urllib.parse import unquote

import promql_parser as promql
import pytest

from checks.promql import PROVIDED, series_of
from dashboards.board import Board
from dashboards.boards import services
from dashboards.boards.registry import BOARDS
from dashboards.grafana import Json
from dashboards.rendered_queries import fill_in, panels
from dashboards.variables import REDIS, SERVER
from rules.promql import series_in
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
"""Prefix of the values that replace variables, to find them in selectors."""


def _expressions(board: Json) -> Iterator[tuple[str, str]]:
    names = [variable["name"] for variable in board["templating"]["list"]]
    choices = {name: MARK + name for name in names} | {"__rate_interval": "1m"}
    for panel in panels(board):
        for target in panel["targets"]:
            yield panel["title"], fill_in(target["expr"], choices)


def _selectors(node: Any, function: str = "") -> Iterator[tuple[Any, str]]:
    """Every selector, and the function around it."""
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


def the_data_source_variable_is_first(board: Json) -> list[str]:
    """Otherwise a board is tied to one Prometheus."""
    first = board["templating"]["list"][0]
    return [] if first["type"] == "datasource" else [f"first is ${first['name']}"]


def variables_refresh_with_the_time_range(board: Json) -> list[str]:
    """Otherwise a service of last week cannot be selected."""
    offered = (each for each in board["templating"]["list"] if each["type"] == "query")
    return [f"${each['name']}" for each in offered if each["refresh"] != 2]


def all_panels_have_queries(board: Json) -> list[str]:
    """Grafana's alert list has no queries of the board."""
    return [p["title"] for p in panels(board) if not p["targets"] and p["type"] != "alertlist"]


def every_selector_matches_the_job_variable(board: Json) -> list[str]:
    """Otherwise services would be summed; on the board of all services every query is by job."""
    if board["uid"] == services.BOARD.uid:
        return [f"{title}: {expr}" for title, expr in _expressions(board) if "by (job)" not in expr]
    return [
        f"{title}: {selector}"
        for title, selector, _ in _all_selectors(board)
        if not _narrows(selector, "job") and not _is_of_server(selector)
    ]


def every_selector_matches_the_instance_variable(board: Json) -> list[str]:
    """On boards with an instance variable; recorded series are of the whole service."""
    if "instance" not in {variable["name"] for variable in board["templating"]["list"]}:
        return []
    return [
        f"{title}: {selector}"
        for title, expr in _expressions(board)
        if not any(":" in name for name in series_in(expr))
        for selector, _ in _selectors(promql.parse(expr))
        if "instance" in PROVIDED[selector.name] and not _narrows(selector, "instance")
    ]


def _is_of_server(selector: Any) -> bool:
    """A server's own metrics are of the chosen servers, whichever service uses them."""
    return any(
        matcher.name == "instance" and MARK + variable.name in matcher.value
        for matcher in selector.matchers.matchers
        for variable in (SERVER, REDIS)
    )


def _narrows(selector: Any, label: str) -> bool:
    return any(
        matcher.name == label and MARK + label in matcher.value
        for matcher in selector.matchers.matchers
    )


def counters_are_only_used_as_rates(board: Json) -> list[str]:
    """The value of a counter depends on the age of the process."""
    return [
        f"{title}: {selector}"
        for title, selector, function in _all_selectors(board)
        if selector.name in COUNTERS and function not in OF_COUNTERS
    ]


def tables_and_stats_use_instant_queries(board: Json) -> list[str]:
    """A range query costs as much as a graph, and only its last point is shown."""
    now = {"stat", "gauge", "bargauge", "table"}
    return [
        panel["title"]
        for panel in panels(board)
        for target in panel["targets"]
        if target["instant"] != (panel["type"] in now)
    ]


Rule = Callable[[Json], list[str]]
RULES: dict[Rule, Callable[[Json], None]] = {
    the_data_source_variable_is_first: lambda board: board["templating"]["list"].reverse(),
    variables_refresh_with_the_time_range: lambda board: board["templating"]["list"][1].update(
        refresh=1
    ),
    all_panels_have_queries: lambda board: board["panels"][0].update(targets=[]),
    every_selector_matches_the_job_variable: lambda board: _put(board, "sum(up)"),
    every_selector_matches_the_instance_variable: lambda board: _put(
        board, 'process_open_fds{job="$job"}'
    ),
    counters_are_only_used_as_rates: lambda board: _put(
        board, 'slo_events_total{job="$job", instance=~"$instance"} > 0'
    ),
    tables_and_stats_use_instant_queries: lambda board: board["panels"][0]["targets"][0].update(
        instant=False
    ),
}
"""Each rule, and a mistake that it must find."""


def _put(board: Json, expr: str) -> None:
    board["panels"][0]["targets"][0]["expr"] = expr


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_boards_follow_the_rules(rule: Rule, board: Board) -> None:
    assert rule(board.draw()) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_finds_its_mistake(rule: Rule) -> None:
    (runtime,) = (board for board in BOARDS if board.uid == "svc-runtime")
    spoilt = deepcopy(runtime.draw())
    RULES[rule](spoilt)
    assert len(rule(spoilt)) == 1


def test_data_links_keep_the_job_and_the_time_range() -> None:
    for board in BOARDS:
        for url in re.findall(r"/d/[^'\"]+", str(board.draw())):
            if board is services.BOARD:  # its links choose the job
                kept, _, job = url.partition("&var-job=")
                assert kept.endswith("${datasource:queryparam}&${__url_time_range}")
                assert job.startswith(("${__value.raw", "${__field.labels.job:"))
                continue
            assert "${datasource:queryparam}&${job:queryparam}&${__url_time_range}" in url


def test_links_to_traces_and_logs_keep_the_job_and_the_time_range() -> None:
    found = {
        url
        for board in BOARDS
        for url in re.findall(r"/explore\?schemaVersion=1&panes=([^'\"]+)", str(board.draw()))
    }
    assert len(found) >= 8
    for panes in found:
        pane = json.loads(unquote(panes))["a"]
        assert pane["range"] == {"from": "${__from}", "to": "${__to}"}
        (query,) = pane["queries"]
        assert query["datasource"]["uid"] == pane["datasource"]
        text = query.get("query") or query["expr"]
        assert re.search(r'service.name ?= ?"\$\{job:percentencode\}"', text), text
