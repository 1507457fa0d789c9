"""What boards say in good and in bad times, computed by Prometheus' own tool."""

import subprocess
from pathlib import Path

import pytest
import yaml

from dashboards.panels.panel import Panel
from dashboards.rendered_queries import fill_in
from dashboards.sections.alert_table import FIRING_ALERTS
from dashboards.sections.slo_panels import AVAILABILITY, BUDGET, INSTANCES, SLOW_QUERIES
from dashboards.sections.worst_routes import HOW_MANY, ROUTES
from rules.monitoring import ALERTS, ALERTS_FOR_STATE, UP
from rules.requests import LATENCY_P95_BY_ROUTE, REQUEST_RATE_BY_ROUTE
from rules.slo import BAD_RATIO, GOOD_RATIO, TARGET, THRESHOLD, THRESHOLD_BY_ROUTE
from vitals.metrics.catalogue import SLO_EVENTS
from vitals.metrics.declarations import AnyMetric

pytestmark = pytest.mark.usefixtures("every_suite")


def series(metric: AnyMetric | str, value: object, **labels: str) -> dict[str, str]:
    """Six samples, one a minute: a constant, or ``0+5`` for what grows by five."""
    name = metric if isinstance(metric, str) else metric.name
    matchers = ", ".join(f'{label}="{text}"' for label, text in labels.items())
    return {"series": f"{name}{{{matchers}}}", "values": f"{value}x6"}


def answers(
    tmp_path: Path,
    panel: Panel,
    letter: str,
    given: list[dict[str, str]],
    expected: dict[str, float],
) -> None:
    """Ask one query of a panel after five minutes; Prometheus' tool compares."""
    query = panel.queries["ABCDE".index(letter)]
    samples = [{"labels": labels, "value": value} for labels, value in expected.items()]
    case = {"expr": fill_in(query.expr), "eval_time": "5m", "exp_samples": samples}
    test = {"interval": "1m", "input_series": given, "promql_expr_test": [case]}
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump({"tests": [test]}))
    run = subprocess.run(
        ["promtool", "test", "rules", file], check=False, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("good", "verdict"), [(1, "kept"), (0.999, "kept"), (0.998, "broken"), (0, "broken")]
)
def test_availability_is_judged_by_what_the_service_promises(
    tmp_path: Path, good: float, verdict: str
) -> None:
    given = [
        series(str(GOOD_RATIO), good, job="api", slo="availability"),
        series(str(TARGET), 0.999, job="api", slo="availability"),
        series(str(GOOD_RATIO), 0, job="other", slo="availability"),
    ]
    answers(tmp_path, AVAILABILITY, "A", given, {f'{{verdict="{verdict}"}}': good})
    answers(tmp_path, AVAILABILITY, "B", given, {"{}": 0.999})


def test_a_service_without_traffic_gets_no_verdict(tmp_path: Path) -> None:
    given = [series(str(TARGET), 0.95, job="api", slo="queries")]
    answers(tmp_path, SLOW_QUERIES, "A", given, {})


@pytest.mark.parametrize(("second", "answer"), [(1, "up"), (0, "only")])
def test_instances_that_are_down_are_missed(tmp_path: Path, second: int, answer: str) -> None:
    given = [
        series(UP, 1, job="api", instance="one"),
        series(UP, second, job="api", instance="two"),
    ]
    answers(tmp_path, INSTANCES, "A", given, {f'{{verdict="{answer}"}}': 1 + second})
    answers(tmp_path, INSTANCES, "B", given, {"{}": 2})


def test_a_young_service_has_a_budget(tmp_path: Path) -> None:
    given = [
        series(str(BAD_RATIO["1h"]), 0.25, job="api", slo="availability"),
        series(str(TARGET), 0.5, job="api", slo="availability"),
    ]
    answers(tmp_path, BUDGET, "A", given, {'{job="api", slo="availability"}': 0.5})


def _routes() -> list[dict[str, str]]:
    """Twelve routes, the twelfth the slowest; only the first breaks promises."""
    given = [series(str(THRESHOLD), 0.25, job="api", slo="latency")]
    for number in range(1, 13):
        labels = {"job": "api", "http_route": f"/{number}"}
        given += [
            series(str(LATENCY_P95_BY_ROUTE), number / 100, **labels),
            series(str(REQUEST_RATE_BY_ROUTE), number, **labels),
        ]
    broken = {"job": "api", "http_route": "/1", "slo": "availability", "outcome": "bad"}
    return [*given, series(SLO_EVENTS, "0+60", **broken)]


def test_the_worst_route_is_the_one_that_breaks_promises_then_the_slowest(tmp_path: Path) -> None:
    worst = [1, *range(14 - HOW_MANY, 13)]
    assert len(worst) == HOW_MANY
    rates = {f'{{http_route="/{number}"}}': float(number) for number in worst}
    answers(tmp_path, ROUTES, "A", _routes(), {'{http_route="/1"}': 60})
    answers(tmp_path, ROUTES, "B", _routes(), rates)


def test_a_route_is_held_to_its_own_promise_first(tmp_path: Path) -> None:
    given = [
        *_routes()[:5],
        series(str(THRESHOLD_BY_ROUTE), 0.5, job="api", http_route="/1", slo="latency"),
    ]
    shares = {'{http_route="/1"}': 0.01 / 0.5, '{http_route="/2"}': 0.02 / 0.25}
    answers(tmp_path, ROUTES, "E", given, shares)


def test_firing_alerts_are_those_of_the_service_and_the_watchdog(tmp_path: Path) -> None:
    given = []
    for job, name, severity, state in (
        ("api", "ErrorRatioHigh", "page", "firing"),
        ("api", "LatencyP95High", "ticket", "pending"),
        ("other", "TargetDown", "page", "firing"),
    ):
        labels = {"job": job, "alertname": name, "severity": severity}
        given += [
            series(ALERTS, 1, alertstate=state, **labels),
            series(ALERTS_FOR_STATE, 1700000000, **labels),
        ]
    watchdog = {"alertname": "Watchdog", "severity": "none"}
    given += [
        series(ALERTS, 1, alertstate="firing", **watchdog),
        series(ALERTS_FOR_STATE, 1600000000, **watchdog),
    ]
    shown = {
        '{alertname="ErrorRatioHigh", severity="page"}': 1700000000000.0,
        '{alertname="Watchdog", severity="watchdog"}': 1600000000000.0,
    }
    answers(tmp_path, FIRING_ALERTS, "A", given, shown)
