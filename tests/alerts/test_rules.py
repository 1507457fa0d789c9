"""The committed rules, checked and unit-tested by promtool."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.__main__ import main
from alerts.alert import Severity
from alerts.inhibition import INHIBITIONS
from alerts.rule_files import every_alert, every_signal, render
from alerts.time_scale import FAST
from rules.promql import series_in
from tests.alerts import needed_rules

ROOT = Path(__file__).parents[2]
CASES = sorted(Path(__file__).parent.glob("*.yml"))


def promtool(*arguments: str | Path) -> str:
    """Run promtool; its output becomes the failure's message."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


@pytest.mark.usefixtures("outer_suites")
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
@pytest.mark.slow
def test_rules_behave_as_replayed(path: Path, tmp_path: Path) -> None:
    promtool("test", "rules", *needed_rules.split(path, tmp_path))


@pytest.mark.usefixtures("outer_suites")
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(400)
def test_rules_behave_the_same_beside_all_others(path: Path) -> None:
    promtool("test", "rules", path)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_cases_evaluate_all_groups_in_a_fixed_order(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    files = [file for pattern in case["rule_files"] for file in path.parent.glob(pattern)]
    groups = {
        group["name"] for file in files for group in yaml.safe_load(file.read_text())["groups"]
    }
    assert {*case["group_eval_order"]} == groups


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_cases_have_the_rules_that_they_name_and_what_those_read(path: Path) -> None:
    """Otherwise an alert that must not fire would be absent."""
    case = yaml.safe_load(path.read_text())
    rules = [
        rule
        for pattern in case["rule_files"]
        for file in path.parent.glob(pattern)
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
    ]
    tests = [test for test in case["tests"] if test]
    alerts = {each["alertname"] for test in tests for each in test.get("alert_rule_test", ())}
    assert alerts <= {rule.get("alert") for rule in rules}
    named = {
        record
        for test in tests
        for each in test.get("promql_expr_test", ())
        for record in series_in(each["expr"])
    }
    read = {record for rule in rules for record in series_in(rule["expr"])}
    assert (named | read) & every_signal().keys() <= {rule.get("record") for rule in rules}


@pytest.mark.usefixtures("every_suite")
def test_rules_are_valid_and_without_lint() -> None:
    output = promtool("check", "rules", *sorted((ROOT / "prometheus" / "rules").glob("*.yml")))
    assert output.count("SUCCESS") == len(render())


@pytest.mark.usefixtures("every_suite")
def test_fast_rules_are_valid(tmp_path: Path) -> None:
    assert main(["--fast", "--output", str(tmp_path)]) == 0
    promtool("check", "rules", *tmp_path.glob("*.yml"))


def test_committed_rules_are_up_to_date() -> None:
    assert main(["--check"]) == 0


def test_check_names_a_file_that_was_edited_by_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--output", str(tmp_path)])
    (tmp_path / "requests.yml").write_text("groups: []\n")
    (tmp_path / "stray.yml").write_text("groups: []\n")

    assert main(["--check", "--output", str(tmp_path)]) == 1

    message = capsys.readouterr().err
    assert "requests.yml" in message
    assert "stray.yml" in message
    assert "datastores.yml" not in message
    assert main(["--output", str(tmp_path)]) == 0
    assert main(["--check", "--output", str(tmp_path)]) == 0


AT_ONCE = {"ServiceEnded", "WorkerCrashed", "TransactionForgotten"}
"""Pages on what has happened already: the end of a process, a transaction that blocks for long."""
FORECAST = ("FilesRunOut", "MemoryRunsOut", "DiskRunsOut", "ThreadsRunOut", "ConnectionsRunOut")
BRIEF = {
    "LockWaitLong": "30s",
    **dict.fromkeys((*FORECAST, "PostgresUnreachable", "ErrorRatioHigh"), "1m"),
}
"""Pages that wait for less: of a forecast, of a transaction that already blocked for long, of a
server whose reader has tried for half a minute, and of errors, whose ratio over five minutes takes
a minute to rise: with two more it would be told after 180 s."""


INHIBITED = {pair.consequence.name for pair in INHIBITIONS if pair.cause.severity is Severity.PAGE}
"""Tickets that a page may hold back."""


@pytest.mark.parametrize("alert", every_alert(), ids=lambda alert: alert.name)
def test_tickets_last_longer_than_pages_so_that_pages_inhibit_them(alert: Any) -> None:
    if alert.name == "Watchdog":
        assert alert.for_ == ""
    elif alert.severity is Severity.PAGE:
        assert alert.for_ in {"2m", "15m", BRIEF.get(alert.name)} or (
            not alert.for_ and alert.name in AT_ONCE
        )
    elif alert.labels.get("forecast") == "growth":
        assert alert.for_ == "2m"  # without a limit, no page inhibits it
    elif alert.name in INHIBITED:
        assert alert.for_ in {"1m", "5m", "8m", "10m", "14m", "30m", "1h", "3h"}


@pytest.mark.parametrize(
    ("promql", "fast"),
    [
        ("rate(a[5m])", "rate(a[15s])"),
        ("sum_over_time(a:rate5m[1h])", "sum_over_time(a:rate5m[180s])"),
        (
            "quantile_over_time(0.5, a[1d] offset 10m)",
            "quantile_over_time(0.5, a[4320s] offset 30s)",
        ),
        ("max_over_time(a[30m:1m])", "max_over_time(a[90s:1m])"),
        ('a{le=~"1([.]0)?"}', 'a{le=~"1([.]0)?"}'),
    ],
)
def test_the_fast_scale_shortens_windows_and_nothing_else(promql: str, fast: str) -> None:
    assert FAST.query(promql) == fast


@pytest.mark.usefixtures("every_suite")
def test_prometheus_accepts_the_configuration(tmp_path: Path) -> None:
    source = ROOT / "prometheus" / "prometheus.yml"
    token = tmp_path / "token"
    token.write_text("made up")
    text = source.read_text()
    assert "/run/secrets/metrics-token" in text
    text = text.replace("/run/secrets/metrics-token", str(token))
    text = text.replace("rules/*.yml", f"{source.parent}/rules/*.yml")
    text = text.replace("targets/*.yml", f"{source.parent}/targets/*.yml")
    (tmp_path / "prometheus.yml").write_text(text)

    assert f"{len(render())} rule files found" in promtool(
        "check", "config", tmp_path / "prometheus.yml"
    )


def test_the_example_target_file_is_valid(tmp_path: Path) -> None:
    example = ROOT / "prometheus" / "targets" / "example.yml.txt"
    (group,) = yaml.safe_load(example.read_text())
    assert group["labels"]["job"]
    target = tmp_path / "shop.yml"
    target.write_text(example.read_text())
    config = {"scrape_configs": [{"job_name": "s", "file_sd_configs": [{"files": [str(target)]}]}]}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    promtool("check", "config", tmp_path / "prometheus.yml")
