"""A quiet night fires nothing: one request a minute, chance failures, a deployment, a scrape gap.

Two instances of an API whose cache, database and queries are hardly used, over three hours. The
series of objectives, processes, Prometheus and Alertmanager are all there, so that every alert has
input. Each alert is evaluated every minute.
"""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.alert import Severity
from alerts.rule_files import every_alert
from tests.alerts.test_rules import CASES, ROOT

pytestmark = [pytest.mark.usefixtures("installed_or_newest"), pytest.mark.slow]

MINUTES = 180
DEPLOY, GAP = 90, 40
"""Minutes: the deployment restarts one instance after the other; for five nothing is scraped."""
REQUESTS = 'http_route="/items", http_response_status_code="200"'
FAILED = 'http_route="/items", http_response_status_code="500", error_type="KeyError"'
SERVER = 'server_address="pay"'
STATEMENT = 'db_query_fingerprint="f1", db_query_summary="SELECT items"'
POOL = 'db_client_connection_pool_name="main"'
CACHE = 'cache="product", layer="l2"'


def seen(samples: list[float | None], restart: int) -> str:
    """Samples as promtool writes them: none in the gap, nor while the process restarts."""
    for minute in (*range(GAP, GAP + 5), restart):
        samples[minute] = None
    return " ".join("_" if sample is None else f"{sample:g}" for sample in samples)


def counter(restart: int, each: float, *chances: int) -> str:
    """A counter that rises by ``each`` per minute, by one more at chance minutes, and resets."""
    value, samples = 0.0, list[float | None]()
    for minute in range(MINUTES):
        value = 0.0 if minute == restart else value + each + chances.count(minute)
        samples.append(value)
    return seen(samples, restart)


def gauge(restart: int, before: float, after: float | None = None) -> str:
    """A value, perhaps another one after the deployment."""
    later = before if after is None else after
    return seen([before if minute < restart else later for minute in range(MINUTES)], restart)


def instance(name: str, restart: int, *, failing: float = 0) -> dict[str, str]:
    """Series of one instance: values by series."""
    who = f'job="api", instance="{name}"'

    def count(metric: str, labels: str = "", each: float = 0, *chances: int) -> tuple[str, str]:
        return f"{metric}{{{who}{labels and ', ' + labels}}}", counter(restart, each, *chances)

    def value(metric: str, labels: str, before: float, after: float | None = None) -> Any:
        return f"{metric}{{{who}{labels and ', ' + labels}}}", gauge(restart, before, after)

    up = [0 if minute == restart else 1 for minute in range(MINUTES)]
    up_seen = " ".join("_" if GAP <= at < GAP + 5 else str(on) for at, on in enumerate(up))
    duration, lag = "http_server_request_duration_seconds", "asyncio_event_loop_lag_seconds"
    return dict(
        [
            (f"up{{{who}}}", up_seen),
            count(f"{duration}_count", REQUESTS, 1),
            count(f"{duration}_count", FAILED, failing, 30, 31),
            count(f"{duration}_sum", REQUESTS, 0.2, 70),
            count(f"{duration}_bucket", f'{REQUESTS}, le="0.25"', 0.5),
            count(f"{duration}_bucket", f'{REQUESTS}, le="2.5"', 1),
            count(f"{duration}_bucket", f'{REQUESTS}, le="+Inf"', 1),
            *(
                count("slo_events_total", f'slo="{slo}", http_route="/items", outcome="{how}"',
                      each, *chances)
                for slo in ("availability", "latency")
                for how, each, chances in (("good", 1 - failing, ()), ("bad", failing, (30, 31)))
            ),
            count("db_client_operation_duration_seconds_count", STATEMENT, 1),
            count("db_client_operation_duration_seconds_sum", STATEMENT, 0.01, 72),
            count("db_client_queries_per_request_count", 'http_route="/items"', 1),
            count("db_client_queries_per_request_sum", 'http_route="/items"', 2, 74, 75),
            count("http_client_request_duration_seconds_count", f'{SERVER}, error_type=""', 1),
            count("http_client_request_duration_seconds_count", f'{SERVER}, error_type="503"',
                  0, 50, 51),
            count("http_client_request_duration_seconds_sum", f'{SERVER}, error_type=""', 0.2, 76),
            count("db_client_slow_queries_total", 'db_query_fingerprint="f1"', 0, 30, 31, 92),
            count("db_client_n_plus_one_total", 'http_route="/items", db_query_fingerprint="f1"',
                  1),
            count("db_client_connection_timeouts_total", POOL),
            value("db_client_connection_max", POOL, 30),
            value("db_client_connection_count", f'{POOL}, state="used"', 1),
            count("cache_requests_total", f'{CACHE}, result="hit"', 0.5),
            count("cache_requests_total", f'{CACHE}, result="miss"', 0.5),
            count("cache_requests_total", 'cache="rare", layer="l2", result="miss"', 0.5),
            value("cache_breaker_open", 'cache="product"', 0),
            value("cache_bus_connected", 'cache="product"', 1),
            *(count(f"{lag}_bucket", f'le="{le}"', 600) for le in ("0.001", "0.1", "+Inf")),
            count("vitals_dropped_total", 'reason="http_probe"', 0, 50),
            count("vitals_workers_ended_total", "", 0, 60),
            count("vitals_workers_crashed_total", "", 0),  # a crash is no chance: it pages
            value("vitals_planned_start_time_seconds", "", 0),
            value("process_start_time_seconds", "", 1000, 60 * restart),
            value("process_open_fds", "", 40, 60),
            value("process_max_fds", "", 1024),
            value("app_build_info", 'version="1"', 1),
            value("slo_target_ratio", 'slo="availability"', 0.999),
            value("slo_target_ratio", 'slo="latency"', 0.95),
            value("slo_target_ratio", 'slo="queries"', 0.95),
            value("slo_threshold_seconds", 'slo="latency"', 0.25),
            value("slo_threshold_seconds", 'slo="queries"', 0.1),
            value("scrape_duration_seconds", "", 0.02, 0.04),
            value("scrape_timeout_seconds", "", 10),
            value("scrape_samples_post_metric_relabeling", "", 400, 1200),
            value("scrape_sample_limit", "", 50000),
        ]
    )  # fmt: skip


def monitoring() -> dict[str, str]:
    """Series of Prometheus and Alertmanager, which were reloaded for the deployment."""
    prometheus, alertmanager = 'job="prometheus", instance="p"', 'job="alertmanager", instance="m"'
    group = f'{prometheus}, rule_group="g"'
    never = MINUTES - 1
    return {
        f"up{{{prometheus}}}": gauge(never, 1),
        f"up{{{alertmanager}}}": gauge(never, 1),
        f"prometheus_rule_evaluation_failures_total{{{group}}}": counter(never, 0),
        f"prometheus_rule_group_iterations_missed_total{{{group}}}": counter(never, 0, GAP + 5),
        f"prometheus_notifications_dropped_total{{{prometheus}}}": counter(never, 0, DEPLOY),
        f"prometheus_config_last_reload_successful{{{prometheus}}}": gauge(never, 1),
        f"alertmanager_config_last_reload_successful{{{alertmanager}}}": gauge(never, 1),
        f'alertmanager_notifications_failed_total{{{alertmanager}, integration="webhook"}}': (
            counter(never, 0)
        ),
    }


def run_promtool(
    folder: Path, *, minutes: int = MINUTES, failing: float = 0
) -> subprocess.CompletedProcess[str]:
    """Run promtool, which expects that nothing fires in any of the first minutes."""
    series = (
        instance("a", DEPLOY, failing=failing)
        | instance("b", DEPLOY + 2, failing=failing)
        | monitoring()
    )
    names = sorted({each.name for each in every_alert() if each.severity is not Severity.NONE})
    order = yaml.safe_load(CASES[0].read_text())["group_eval_order"]
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": text} for name, text in series.items()],
        "alert_rule_test": [
            {"alertname": name, "eval_time": f"{minute}m", "exp_alerts": []}
            for name in names
            for minute in range(minutes)
        ],
    }
    file = folder / "quiet.yml"
    rules = {"rule_files": [f"{ROOT}/prometheus/rules/*.yml"], "group_eval_order": order}
    file.write_text(yaml.safe_dump({**rules, "evaluation_interval": "1m", "tests": [case]}))
    command = ["promtool", "test", "rules", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_quiet_night_fires_nothing(tmp_path: Path) -> None:
    done = run_promtool(tmp_path)
    assert done.returncode == 0, (done.stdout + done.stderr)[:3000]


def test_the_same_night_is_not_quiet_when_requests_fail(tmp_path: Path) -> None:
    done = run_promtool(tmp_path, minutes=GAP, failing=1)
    assert done.returncode == 1
    assert 'alertname="ErrorRatioHigh"' in done.stdout + done.stderr
