"""Whatever a rule or a runbook asks for is something that is emitted or recorded."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from alerts.alert import Alert
from alerts.rules import every_alert, every_signal
from alerts.signals.signal import Signal
from alerts.signals.watch import OF_THE_WATCH
from vitals.catalogue import CATALOGUE
from vitals.metric import SCRAPE_LABELS, Histogram, UnknownLabelError

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "alerts" / "runbooks"


def _known() -> dict[str, frozenset[str]]:
    known = {signal.record: frozenset(signal.labels) for signal in every_signal().values()}
    for metric in (*CATALOGUE.values(), *OF_THE_WATCH):
        parts = ("_bucket", "_count", "_sum") if isinstance(metric, Histogram) else ("",)
        for part in parts:
            known[metric.name + part] = frozenset(metric.label_names) | (
                SCRAPE_LABELS if part == "_bucket" else SCRAPE_LABELS - {"le"}
            )
    return known


KNOWN = _known()


def nodes(expression: Any) -> Iterator[Any]:
    """Every node of a parsed query."""
    yield expression
    for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
        if (child := getattr(expression, name, None)) is not None:
            yield from nodes(child)
    for child in getattr(expression, "args", []):
        yield from nodes(child)


def carried(expression: Any) -> set[str]:
    """Labels that the series of an expression can have."""
    labels: set[str] = set()
    for node in nodes(expression):
        if isinstance(node, promql_parser.VectorSelector):
            labels |= KNOWN.get(node.name or "", frozenset())
        elif isinstance(node, promql_parser.Call) and node.func.name == "label_replace":
            labels.add(node.args[1].val)
    return labels


def unknown(promql: str) -> set[str]:
    """Names of series and labels in a query that nothing emits."""
    found: set[str] = set()
    for node in nodes(promql_parser.parse(promql)):
        if isinstance(node, promql_parser.VectorSelector):
            name = node.name or ""
            labels = {matcher.name for matcher in node.matchers.matchers}
            found |= labels - KNOWN.get(name, labels) | {name} - {*KNOWN}
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            found |= {*node.modifier.labels} - carried(node.expr)
        elif (
            isinstance(node, promql_parser.BinaryExpr) and node.modifier and node.modifier.matching
        ):
            found |= {*node.modifier.matching.labels} - carried(node.lhs) & carried(node.rhs)
    return found


@pytest.mark.parametrize("signal", every_signal().values(), ids=lambda signal: signal.record)
def test_signals_ask_for_what_exists(signal: Signal) -> None:
    assert unknown(signal.query) == set()


@pytest.mark.parametrize("alert", every_alert(), ids=lambda alert: alert.name)
def test_alerts_ask_for_what_exists(alert: Alert) -> None:
    assert unknown(alert.expr) == set()
    looked_up = re.findall(r'printf "(.*?)" ', alert.summary + alert.description)
    for query in looked_up:
        assert unknown(query) == set()


@pytest.mark.parametrize("alert", every_alert(), ids=lambda alert: alert.name)
def test_what_an_alert_tells_are_labels_that_it_carries(alert: Alert) -> None:
    told = set(re.findall(r"\$labels\.(\w+)", alert.summary + alert.description))
    assert told <= carried(promql_parser.parse(alert.expr))
    if alert.name != "Watchdog":
        assert "job" in told or alert.name in {"RulesFail", "NotificationsFail", "AlertsDropped"}


@pytest.mark.parametrize("name", sorted({alert.name for alert in every_alert()}))
def test_every_alert_has_a_runbook_that_can_be_followed(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()
    headings = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert headings == ["Meaning", "Impact", "Check", "Mitigate", "False alarms", "Escalate"]
    queries = re.findall(r"^```promql\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert len(queries) >= (0 if name == "Watchdog" else 2)
    for query in queries:
        assert unknown(query) == set()


def test_no_runbook_is_left_without_its_alert() -> None:
    names = {alert.name for alert in every_alert()}
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == names


@pytest.mark.parametrize(
    ("promql", "complaint"),
    [
        ("sum(rate(http_requests_total[5m]))", {"http_requests_total"}),
        ("sum by (planet) (up)", {"planet"}),
        ("up > on (job, cache) cache_breaker_open", {"cache"}),
        ('up{jbo="api"} == 0', {"jbo"}),
        ("http_server_request_duration_seconds", {"http_server_request_duration_seconds"}),
        ('quantile_over_time(0.5, up{zone="a"}[5m:1m])', {"zone"}),
    ],
)
def test_the_contract_notices_what_nothing_emits(promql: str, complaint: set[str]) -> None:
    assert unknown(promql) == complaint


@pytest.mark.parametrize(
    "select",
    [
        lambda signal: signal.select(routee="/"),
        lambda signal: signal.sum("routee"),
    ],
)
def test_a_signal_knows_its_labels(select: Callable[[Signal], str]) -> None:
    signal = Signal("job_route:requests:rate5m", "How many?", "reqps", "vector(1)")
    assert signal.labels == ("job", "http_route")
    assert signal.select(job="api") == 'job_route:requests:rate5m{job="api"}'
    with pytest.raises(UnknownLabelError, match="routee"):
        select(signal)


@pytest.mark.parametrize("record", ["requests", "job:requests", "planet:requests:rate5m"])
def test_a_record_is_named_by_level_metric_and_operation(record: str) -> None:
    with pytest.raises(ValueError, match="level:metric:operation"):
        Signal(record, "How many?", "reqps", "vector(1)")


def test_alerts_lead_to_boards_that_exist() -> None:
    boards = {
        json.loads(path.read_text())["uid"]
        for path in (ROOT / "grafana" / "dashboards").glob("*.json")
    }
    assert {alert.board for alert in every_alert()} <= boards


def test_the_table_of_alerts_says_what_is_declared() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \| ([^|]*)\|",
        (ROOT / "docs" / "alerts.md").read_text(),
        re.MULTILINE,
    )
    told = {
        (name, severity, lasting.strip())
        for name, severity, lastings in rows
        for lasting in lastings.split(",")
    }
    assert told == {(alert.name, str(alert.severity), alert.lasting) for alert in every_alert()}
