from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.alerts import needed_rules
from tests.alerts.test_rules import CASES

RULES: list[dict[str, Any]] = [
    {"record": "job:requests:rate5m", "expr": "sum by (job) (rate(requests_total[5m]))"},
    {"record": "job:errors:rate5m", "expr": "sum by (job) (rate(errors_total[5m]))"},
    {"record": "job:ratio:5m", "expr": "job:errors:rate5m / job:requests:rate5m"},
    {"record": "firing", "expr": 'ALERTS{alertstate="firing"}'},
    {
        "alert": "Errors",
        "expr": "job:ratio:5m > 0.1",
        "annotations": {"cause": "{{ query \"ALERTS{job=%q, alertname=~'Down|Full'}\" }}"},
    },
    {"alert": "Down", "expr": "up == 0", "annotations": {"runs": '{{ query "firing" }}'}},
    {"alert": "Full", "expr": "job:used:ratio > 1"},
    {"alert": "Idle", "expr": "job:requests:rate5m == 0"},
    {"record": "job:used:ratio", "expr": "used / limit"},
    {"alert": "Stuck", "expr": "firing > 10"},
]


@pytest.mark.parametrize(
    ("test", "names"),
    [
        ({"promql_expr_test": [{"expr": "job:used:ratio"}]}, "job:used:ratio"),
        ({"alert_rule_test": [{"alertname": "Idle"}]}, "job:requests:rate5m Idle"),
        (  # what its causes read, but not the annotations of those
            {"alert_rule_test": [{"alertname": "Errors"}]},
            "job:requests:rate5m job:errors:rate5m job:ratio:5m Errors Down Full job:used:ratio",
        ),
        (  # of any alert
            {"alert_rule_test": [{"alertname": "Stuck"}]},
            " ".join(str(rule.get("record") or rule["alert"]) for rule in RULES),
        ),
    ],
)
def test_what_a_test_reads_is_kept_in_order(test: dict[str, Any], names: str) -> None:
    kept = needed_rules.needed(RULES, test)
    assert [rule.get("record") or rule["alert"] for rule in kept] == names.split()


def strings(text: str) -> Any:
    return yaml.load(text, yaml.CBaseLoader)  # noqa: S506 - it makes strings only


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_no_test_is_lost_and_each_has_the_alerts_that_it_names(path: Path, tmp_path: Path) -> None:
    tests = [test for test in strings(path.read_text())["tests"] if test]
    files = needed_rules.split(path, tmp_path)
    assert len(files) == len(tests)
    for test, file in zip(tests, files, strict=True):
        (kept,) = strings(file.read_text())["tests"]
        assert [*kept] == [*test]
        assert kept["input_series"] == test["input_series"]
        assert kept.get("alert_rule_test") == test.get("alert_rule_test")
        groups = strings(file.with_suffix(".rules").read_text())["groups"]
        present = {rule.get("alert") for group in groups for rule in group["rules"]}
        assert {each["alertname"] for each in test.get("alert_rule_test", ())} <= present
