"""The texts of alerts use existing labels, runbooks and boards."""

import json
import re
from pathlib import Path

import pytest

from alerts import table
from alerts.alert import Alert
from alerts.inhibition import INHIBITIONS, Inhibition
from alerts.rule_files import every_alert
from checks.promql import labels_of
from rules.engine import Engine

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "alerts" / "runbooks"


ALL = (
    *every_alert(),
    *(alert for alert in every_alert(Engine.VICTORIAMETRICS) if alert not in every_alert()),
)


@pytest.mark.parametrize("alert", ALL, ids=lambda alert: alert.name)
def test_the_texts_of_an_alert_use_labels_that_it_has(alert: Alert) -> None:
    used = set(re.findall(r"\$labels\.(\w+)", alert.summary + alert.description))
    assert used <= labels_of(alert.expr) | {*alert.labels}
    if alert.name != "Watchdog":
        assert "job" in used or alert.name in {
            *("RulesFail", "NotificationsFail", "AlertsDropped", "ServiceEnded")
        }


@pytest.mark.parametrize("name", sorted({alert.name for alert in ALL}))
def test_every_alert_has_a_runbook_that_can_be_followed(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()
    headings = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert headings == ["Meaning", "Impact", "Check", "Mitigate", "False alarms", "Escalate"]
    queries = re.findall(r"^```promql\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert len(queries) >= (0 if name == "Watchdog" else 2)


def test_no_runbook_is_left_without_its_alert() -> None:
    names = {alert.name for alert in ALL}
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == names


def test_alerts_lead_to_boards_that_exist() -> None:
    boards = {
        json.loads(path.read_text())["uid"]
        for path in (ROOT / "grafana" / "dashboards").glob("*.json")
    }
    assert {alert.board for alert in ALL} <= boards


def test_the_table_has_a_row_of_each_alert_between_texts_that_stay() -> None:
    page = table.render(f"before\n{table.BEGIN}\nlast row\n{table.END}\nafter\n")
    assert page.startswith("before\n")
    assert page.endswith("\nafter\n")
    assert "last row" not in page
    for alert in every_alert():
        assert f"| `{alert.name}` | {alert.severity} | {alert.for_} | {alert.fires_when} |" in page
    assert table.render(page) == page


def test_the_table_of_pairs_names_each_with_its_reason() -> None:
    page = table.render(f"before\n{table.PAIRS_BEGIN}\nlast row\n{table.PAIRS_END}\nafter\n")
    assert page.startswith("before\n")
    assert page.endswith("\nafter\n")
    assert "last row" not in page
    for pair in INHIBITIONS:
        (row,) = [line for line in page.splitlines() if line.startswith(f"{_cells(pair)}")]
        assert row.endswith(f"| {pair.reason} |")


def _cells(pair: Inhibition) -> str:
    cause = " ".join((f"`{pair.cause.name}`", *pair.by.values()))
    return f"| {cause} | `{pair.consequence.name}`" + " ".join(
        ("", *(text.replace("|", ", ") for text in pair.of.values()), "|")
    )
