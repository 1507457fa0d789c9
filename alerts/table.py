"""The tables in docs/alerts.md: all alerts, and which of them explains which other."""

from collections.abc import Iterable
from pathlib import Path

from alerts.alert import Alert
from alerts.inhibition import INHIBITIONS, Inhibition
from alerts.rule_files import every_alert
from rules.engine import Engine

DOCUMENT = Path(__file__).parents[1] / "docs" / "alerts.md"
BEGIN, END = "<!-- written by make render -->", "<!-- end of the alerts -->"
ENGINE_BEGIN = "<!-- of VictoriaMetrics, written by make render -->"
ENGINE_END = "<!-- end of those of VictoriaMetrics -->"
PAIRS_BEGIN, PAIRS_END = "<!-- pairs written by make render -->", "<!-- end of the pairs -->"


def render(text: str) -> str:
    """The document, with current tables where it has their marks."""
    text = _replaced(text, BEGIN, END, _rows(every_alert()))
    of_engine = [
        alert for alert in every_alert(Engine.VICTORIAMETRICS) if alert not in every_alert()
    ]
    text = _replaced(text, ENGINE_BEGIN, ENGINE_END, _rows(of_engine))
    head = ("| while this fires | this is held back | of the same | because |", "|---|---|---|---|")
    return _replaced(text, PAIRS_BEGIN, PAIRS_END, [*head, *map(_pair, INHIBITIONS)])


def _rows(alerts: Iterable[Alert]) -> list[str]:
    return [
        "| alert | severity | for | fires when | not when |",
        "|---|---|---|---|---|",
        *(
            f"| `{alert.name}` | {alert.severity} | {alert.for_} | {alert.fires_when} "
            f"| {alert.not_when} |"
            for alert in alerts
        ),
    ]


def _pair(pair: Inhibition) -> str:
    cause, consequence = (
        " ".join((f"`{alert.name}`", *(text.replace("|", ", ") for text in labels.values())))
        for alert, labels in ((pair.cause, pair.by), (pair.consequence, pair.of))
    )
    same = ", ".join(f"`{label}`" for label in pair.equal)
    return f"| {cause} | {consequence} | {same} | {pair.reason} |"


def _replaced(text: str, begin: str, end: str, lines: list[str]) -> str:
    if begin not in text:
        return text
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return before + "\n".join((begin, "", *lines, "", end)) + after
