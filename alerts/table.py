"""The table of all alerts in docs/alerts.md."""

from pathlib import Path

from alerts.rule_files import every_alert

DOCUMENT = Path(__file__).parents[1] / "docs" / "alerts.md"
BEGIN, END = "<!-- written by make render -->", "<!-- end of the alerts -->"


def render(text: str) -> str:
    """The document, with a current table."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = [
        f"| `{alert.name}` | {alert.severity} | {alert.for_} | {alert.fires_when} "
        f"| {alert.not_when} |"
        for alert in every_alert()
    ]
    head = ("| alert | severity | for | fires when | not when |", "|---|---|---|---|---|")
    return before + "\n".join((BEGIN, "", *head, *rows, "", END)) + after
