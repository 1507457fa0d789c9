"""All queries use exported or recorded series, and all exported metrics are used."""

import json
import re
from collections.abc import Iterable
from typing import Any

import pytest
import yaml

from rules.promql import series_in
from tests.contract.promql import ContractError, labels_of, series_of
from tests.contract.sources import ROOT, SourcedQuery, all_queries, of_board, of_page, of_rules
from vitals.metrics.catalogue import CATALOGUE

QUERIES = list(all_queries())


def errors(queries: Iterable[SourcedQuery]) -> list[str]:
    """The errors of queries, each with its source."""
    found = []
    for where, expr in queries:
        try:
            labels_of(expr)
        except (ContractError, ValueError) as error:
            found.append(f"{where}: {error}")
    return found


def test_all_queries_use_existing_series_and_labels() -> None:
    places = {where.partition(":")[0] for where, _ in QUERIES}
    assert {"svc-overview.json", "requests.yml", "alerts/runbooks/BudgetBurn.md"} <= places
    assert errors(QUERIES) == []


def _board() -> Any:
    return json.loads((ROOT / "grafana" / "dashboards" / "svc-overview.json").read_text())


def _broken_panel() -> list[str]:
    board = _board()
    board["panels"][0]["targets"][0]["expr"] = 'http_requests_total{job="$job"}'
    return errors(of_board("a board", board))


def _broken_variable() -> list[str]:
    board = _board()
    board["templating"]["list"][1]["definition"] = "label_values(app_built_info, job)"
    return errors(of_board("a board", board))


def _broken_rules(old: str, new: str) -> list[str]:
    text = "".join(path.read_text() for path in sorted((ROOT / "prometheus/rules").glob("req*")))
    assert old in text
    return errors(of_rules("a rule", yaml.safe_load(text.replace(old, new, 1))))


@pytest.mark.parametrize(
    ("found", "error"),
    [
        (_broken_panel(), "unknown series http_requests_total"),
        (_broken_variable(), "unknown series app_built_info"),
        (_broken_rules("http_route", "route"), "no label route"),
        (_broken_rules("seconds:max{", "seconds:mix{"), "unknown series .*:mix"),
        (errors(of_page("p", "```promql\nup{jbo='x'}\n```\n")), "no label jbo"),
        (errors(of_page("p", "See `slo_event_total`.")), "unknown series slo_event_total"),
        (errors(of_page("p", "`vitals_dropped_total{why}`")), "no label why"),
        (errors(of_page("p", "`job:nothing:rate5m`")), "unknown series job:nothing"),
    ],
)
def test_an_error_in_any_source_is_found(found: list[str], error: str) -> None:
    assert len(found) == 1
    assert re.search(error, found[0])


def test_other_words_in_code_style_are_no_queries() -> None:
    text = "`trace_id`, `process_one(order)`, `max_connections`, `vitals.cli`, `slo_events_total`"
    assert errors(of_page("a page", text)) == []


def _used() -> set[str]:
    """Metrics that are queried; a page that only names one does not count."""
    exprs = (expr for where, expr in QUERIES if not where.startswith(("docs/", "README")))
    read = {series for expr in exprs for series in series_in(expr)}
    return {name for name, metric in CATALOGUE.items() if read & {*series_of(metric)}}


def test_metrics_that_are_not_queried_are_listed_with_a_reason() -> None:
    page = (ROOT / "docs" / "watch.md").read_text()
    listed = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    unused = CATALOGUE.keys() - _used()
    todo = [
        f"{name}: query it in rules/, dashboards/ or alerts/, or give the reason in docs/watch.md"
        for name in sorted(unused - listed)
    ]
    todo += [f"{name}: delete its row in docs/watch.md" for name in sorted(listed - unused)]
    assert not todo, "\n".join(todo)
