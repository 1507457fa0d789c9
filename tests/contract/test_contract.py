"""Whatever anybody asks for is emitted or recorded, and nothing is emitted for nobody."""

import json
import re
from collections.abc import Iterable
from typing import Any

import pytest
import yaml

from tests.contract.promql import ContractError, labels_of, series_in, series_of
from tests.contract.sources import ROOT, Asked, everywhere, of_board, of_page, of_rules
from vitals.metrics.catalogue import CATALOGUE

ASKED = list(everywhere())


def complaints(asked: Iterable[Asked]) -> list[str]:
    """What is asked for and not there, each with its place."""
    found = []
    for where, expr in asked:
        try:
            labels_of(expr)
        except (ContractError, ValueError) as complaint:
            found.append(f"{where}: {complaint}")
    return found


def test_all_that_is_asked_for_is_there() -> None:
    places = {where.partition(":")[0] for where, _ in ASKED}
    assert {"svc-overview.json", "requests.yml", "alerts/runbooks/BudgetBurn.md"} <= places
    assert complaints(ASKED) == []


def _board() -> Any:
    return json.loads((ROOT / "grafana" / "dashboards" / "svc-overview.json").read_text())


def _spoilt_panel() -> list[str]:
    board = _board()
    board["panels"][0]["targets"][0]["expr"] = 'http_requests_total{job="$job"}'
    return complaints(of_board("a board", board))


def _spoilt_variable() -> list[str]:
    board = _board()
    board["templating"]["list"][1]["definition"] = "label_values(app_built_info, job)"
    return complaints(of_board("a board", board))


def _spoilt_rules(old: str, new: str) -> list[str]:
    text = "".join(path.read_text() for path in sorted((ROOT / "prometheus/rules").glob("req*")))
    assert old in text
    return complaints(of_rules("a rule", yaml.safe_load(text.replace(old, new, 1))))


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        (_spoilt_panel(), "nothing writes http_requests_total"),
        (_spoilt_variable(), "nothing writes app_built_info"),
        (_spoilt_rules("http_route", "route"), "no label route"),
        (_spoilt_rules("seconds:max{", "seconds:mix{"), "nothing writes .*:mix"),
        (complaints(of_page("p", "```promql\nup{jbo='x'}\n```\n")), "no label jbo"),
        (complaints(of_page("p", "See `slo_event_total`.")), "nothing writes slo_event_total"),
        (complaints(of_page("p", "`vitals_dropped_total{why}`")), "no label why"),
        (complaints(of_page("p", "`job:nothing:rate5m`")), "nothing writes job:nothing"),
    ],
)
def test_a_mistake_in_any_place_is_noticed(found: list[str], complaint: str) -> None:
    assert len(found) == 1
    assert re.search(complaint, found[0])


def test_pages_may_speak_of_other_things() -> None:
    text = "`trace_id`, `process_one(order)`, `max_connections`, `vitals.cli`, `slo_events_total`"
    assert complaints(of_page("a page", text)) == []


def _used() -> set[str]:
    """Metrics that somebody looks at; a page that only names one does not."""
    asked = (expr for where, expr in ASKED if not where.startswith(("docs/", "README")))
    read = {series for expr in asked for series in series_in(expr)}
    return {name for name, metric in CATALOGUE.items() if read & {*series_of(metric)}}


def test_what_is_emitted_and_asked_for_nowhere_is_listed_with_the_reason() -> None:
    page = (ROOT / "docs" / "watch.md").read_text()
    listed = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert CATALOGUE.keys() - _used() == listed
