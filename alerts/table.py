"""The tables in docs/alerts.md: all alerts, and which of them explains which other."""

from pathlib import Path

from alerts.inhibition import INHIBITIONS, Inhibition
from alerts.rule_files import every_alert

DOCUMENT = Path(__file__).parents[1] / "docs" / "alerts.md"
ALERTS = ("<!-- written by make render -->", "<!-- end of the alerts -->")
PAIRS = ("<!-- pairs written by make render -->", "<!-- end of the pairs -->")


def render(text: str) -> str:
    """The document, with current tables."""
    alerts = [
        f"| `{alert.name}` | {alert.severity} | {alert.for_} | {alert.fires_when} "
        f"| {alert.not_when} |"
        for alert in every_alert()
    ]
    head = ("| alert | severity | for | fires when | not when |", "|---|---|---|---|---|")
    text = _replaced(text, ALERTS, [*head, *alerts])
    head = ("| while this fires | this is held back | of the same | because |", "|---|---|---|---|")
    return _replaced(text, PAIRS, [*head, *map(_pair, INHIBITIONS)])


def _pair(pair: Inhibition) -> str:
    cause, consequence = (
        " ".join((f"`{alert.name}`", *(text.replace("|", ", ") for text in labels.values())))
        for alert, labels in ((pair.cause, pair.by), (pair.consequence, pair.of))
    )
    same = ", ".join(f"`{label}`" for label in pair.equal)
    return f"| {cause} | {consequence} | {same} | {pair.reason} |"


def _replaced(text: str, marks: tuple[str, str], lines: list[str]) -> str:
    begin, end = marks
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return before + "\n".join((begin, "", *lines, "", end)) + after
