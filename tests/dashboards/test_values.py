"""Values of panels, computed by promtool from given series."""

import subprocess
from pathlib import Path

import pytest
import yaml

from dashboards.panels.panel import Panel
from dashboards.rendered_queries import fill_in
from dashboards.sections.alert_table import FIRING_ALERTS
from dashboards.sections.slo_panels import AVAILABILITY, BUDGET, INSTANCES, LATENCY, SLOW_QUERIES
from dashboards.sections.worst_routes import ROUTE_LIMIT, ROUTES
from rules.alert_states import FIRING_SINCE
from rules.monitoring import ALERTS, ALERTS_FOR_STATE, UP
from rules.requests import EVENTS_BY_OUTCOME, LATENCY_P95_BY_ROUTE, REQUEST_RATE_BY_ROUTE
from rules.slo import (
    BAD_EVENTS_BY_ROUTE,
    BAD_RATIO,
    EVENTS_BY_ROUTE,
    GOOD_RATIO,
    LATENCY_P95_UNDER_SERVICE_OBJECTIVE,
    TARGET,
    THRESHOLD,
)
from vitals.metrics.declarations import AnyMetric

pytestmark = pytest.mark.usefixtures("outer_suites")


def series(metric: AnyMetric | str, value: object, **labels: str) -> dict[str, str]:
    """Six samples, one a minute: a constant, or ``0+5`` for what grows by five."""
    name = metric if isinstance(metric, str) else metric.name
    matchers = ", ".join(f'{label}="{text}"' for label, text in labels.items())
    return {"series": f"{name}{{{matchers}}}", "values": f"{value}x6"}


def check_query(
    tmp_path: Path,
    panel: Panel,
    letter: str,
    given: list[dict[str, str]],
    expected: dict[str, float],
) -> None:
    """Evaluate one query of a panel after five minutes; promtool compares."""
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
    ("good", "status"),
    [(1, "actual"), (0.999, "actual"), (0.998, "missed"), (0, "missed")],
)
def test_availability_is_compared_with_the_target_of_the_service(
    tmp_path: Path, good: float, status: str
) -> None:
    given = [
        series(str(GOOD_RATIO), good, job="api", slo="availability"),
        series(str(TARGET), 0.999, job="api", slo="availability"),
        series(str(GOOD_RATIO), 0, job="other", slo="availability"),
    ]
    check_query(tmp_path, AVAILABILITY, "A", given, {f'{{status="{status}"}}': good})
    check_query(tmp_path, AVAILABILITY, "B", given, {"{}": 0.999})


def test_a_service_without_traffic_has_no_status(tmp_path: Path) -> None:
    given = [series(str(TARGET), 0.95, job="api", slo="queries")]
    check_query(tmp_path, SLOW_QUERIES, "A", given, {})


@pytest.mark.parametrize(("second", "status"), [(1, "up"), (0, "only")])
def test_instances_that_are_down_are_counted(tmp_path: Path, second: int, status: str) -> None:
    given = [
        series(UP, 1, job="api", instance="one"),
        series(UP, second, job="api", instance="two"),
    ]
    check_query(tmp_path, INSTANCES, "A", given, {f'{{status="{status}"}}': 1 + second})
    check_query(tmp_path, INSTANCES, "B", given, {"{}": 2})


def test_a_new_service_has_an_error_budget(tmp_path: Path) -> None:
    given = [
        series(str(BAD_RATIO["1h"]), 0.25, job="api", slo="availability"),
        series(str(TARGET), 0.5, job="api", slo="availability"),
    ]
    check_query(tmp_path, BUDGET, "A", given, {'{job="api", slo="availability"}': 0.5})


def _routes() -> list[dict[str, str]]:
    """Twelve routes, the twelfth the slowest; only the first has bad events."""
    given = [series(str(TARGET), 0.75, job="api", slo="latency")]
    for number in range(1, 13):
        labels = {"job": "api", "http_route": f"/{number}"}
        given += [
            series(str(LATENCY_P95_BY_ROUTE), number / 100, **labels),
            series(str(REQUEST_RATE_BY_ROUTE), number, **labels),
        ]
    bad = {"job": "api", "http_route": "/1", "slo": "availability", "outcome": "bad"}
    return [*given, series(str(EVENTS_BY_OUTCOME), 300, **bad)]


def test_the_worst_route_is_the_one_with_bad_requests_then_the_slowest(tmp_path: Path) -> None:
    worst = [1, *range(14 - ROUTE_LIMIT, 13)]
    assert len(worst) == ROUTE_LIMIT
    rates = {f'{{http_route="/{number}"}}': float(number) for number in worst}
    check_query(tmp_path, ROUTES, "A", _routes(), {'{http_route="/1"}': 60})
    check_query(tmp_path, ROUTES, "B", _routes(), rates)


def test_a_route_is_compared_with_its_own_target_first(tmp_path: Path) -> None:
    given = [
        *_routes()[:5],
        series(str(TARGET), 0.5, job="api", http_route="/1", slo="latency"),
        *(
            series(str(signal), value, job="api", http_route=route, slo="latency")
            for route in ("/1", "/2")
            for signal, value in ((EVENTS_BY_ROUTE, 100), (BAD_EVENTS_BY_ROUTE, 25))
        ),
    ]
    shares = {'{http_route="/1"}': 0.5, '{http_route="/2"}': 1}
    check_query(tmp_path, ROUTES, "E", given, shares)


@pytest.mark.parametrize(("target", "status"), [(0.9, "actual"), (0.95, "missed")])
def test_p95_is_judged_by_the_share_that_the_objective_asks_for(
    tmp_path: Path, target: float, status: str
) -> None:
    of_service = {"job": "api", "slo": "latency"}
    given = [
        series(str(LATENCY_P95_UNDER_SERVICE_OBJECTIVE), 0.3, job="api"),
        series(str(THRESHOLD), 0.25, **of_service),
        series(str(THRESHOLD), 9, http_route="/own", **of_service),
        series(str(TARGET), target, **of_service),
        series(str(BAD_RATIO["5m"]), 0.07, **of_service),
        series(str(BAD_RATIO["5m"]), 1, http_route="/own", **of_service),
    ]
    check_query(tmp_path, LATENCY, "A", given, {f'{{status="{status}"}}': 0.3})
    check_query(tmp_path, LATENCY, "B", given, {"{}": 0.25})


def test_alerts_are_shown_since_they_fire_not_since_their_condition_is_true(tmp_path: Path) -> None:
    labels = {"job": "api", "alertname": "ErrorRatioHigh", "severity": "page"}
    given = [
        series(ALERTS, 1, alertstate="firing", **labels),
        series(ALERTS_FOR_STATE, 1700000000, **labels),
        series(str(FIRING_SINCE), 1700000120, **labels),
    ]
    shown = {'{alertname="ErrorRatioHigh", severity="page"}': 1700000120000.0}
    check_query(tmp_path, FIRING_ALERTS, "A", given, shown)


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
    check_query(tmp_path, FIRING_ALERTS, "A", given, shown)
