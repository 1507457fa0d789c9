"""All queries use exported or recorded series, and all exported metrics are used."""

import json
import re
from typing import Any

import pytest
import yaml

from checks import queries
from checks.files import ROOT
from checks.queries import all_queries, errors, of_board, of_page, of_rules


def test_all_queries_use_existing_series_and_labels_and_read_all_metrics() -> None:
    places = {where.partition(":")[0] for where, _ in all_queries()}
    assert {"svc-overview.json", "requests.yml", "alerts/runbooks/BudgetBurn.md"} <= places
    assert list(queries.check()) == []


def test_a_metric_that_is_not_read_needs_a_reason_and_no_other_has_one() -> None:
    found = [
        *queries.unread([("svc.json", "vitals_workers")], "| `vitals_workers` | why |\n| `up` |")
    ]
    assert "docs/watch.md: delete the row of vitals_workers, which is queried" in found
    assert any("no query reads slo_events_total: give the reason" in line for line in found)
    assert not any("no query reads vitals_workers:" in line for line in found)


def _board() -> Any:
    return json.loads((ROOT / "grafana" / "dashboards" / "svc-overview.json").read_text())


def _broken_panel() -> list[str]:
    board = _board()
    board["panels"][0]["targets"][0]["expr"] = 'http_requests_total{job="$job"}'
    return list(errors(of_board("a board", board)))


def _broken_variable() -> list[str]:
    board = _board()
    board["templating"]["list"][1]["definition"] = "label_values(app_built_info, job)"
    return list(errors(of_board("a board", board)))


def _broken_rules(old: str, new: str) -> list[str]:
    text = "".join(path.read_text() for path in sorted((ROOT / "prometheus/rules").glob("req*")))
    assert old in text
    return list(errors(of_rules("a rule", yaml.safe_load(text.replace(old, new, 1)))))


@pytest.mark.parametrize(
    ("found", "error"),
    [
        (_broken_panel(), "unknown series http_requests_total"),
        (_broken_variable(), "unknown series app_built_info"),
        (_broken_rules("http_route", "route"), "no label route"),
        (_broken_rules("seconds:max{", "seconds:mix{"), "unknown series .*:mix"),
        (list(errors(of_page("p", "```promql\nup{jbo='x'}\n```\n"))), "no label jbo"),
        (list(errors(of_page("p", "See `slo_event_total`."))), "unknown series slo_event_total"),
        (list(errors(of_page("p", "`vitals_dropped_total{why}`"))), "no label why"),
        (list(errors(of_page("p", "`job:nothing:rate5m`"))), "unknown series job:nothing"),
    ],
)
def test_an_error_in_any_source_is_found(found: list[str], error: str) -> None:
    assert len(found) == 1
    assert re.search(error, found[0])


def test_other_words_in_code_style_are_no_queries() -> None:
    text = "`trace_id`, `process_one(order)`, `max_connections`, `vitals.cli`, `slo_events_total`"
    assert list(errors(of_page("a page", text))) == []
