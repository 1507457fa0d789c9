"""The results table of the drills: for the terminal, and in docs/alerts.md."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from stack.drills.drill import DrillResult
from stack.drills.faults import FAULTS, alert_of
from stack.installation.paths import CHECKOUT
from stack.text_table import text_table

DOCUMENT = CHECKOUT / "docs" / "alerts.md"
BEGIN, END = "<!-- written by the drill run -->", "<!-- end of the drill run -->"


def as_text(outcomes: Sequence[DrillResult]) -> str:
    """A row per drill: seconds from the fault, and from its end."""
    rows = [
        (each.name, each.severity, f"{each.seconds['notified']:.1f}", f"{each.to_resolve:.1f}")
        for each in outcomes
    ]
    return text_table(rows, ("alert", "severity", "notified", "resolved"), right={2, 3})


def as_markdown(outcomes: Sequence[DrillResult], day: str) -> str:
    """The results as a Markdown table."""
    rows = [
        f"| {alert_of(outcome.name)}{_which(outcome.name)} | {outcome.severity} "
        f"| {FAULTS[outcome.name].description} | {_fired(outcome)} "
        f"| {outcome.seconds['notified']:.1f} | {outcome.to_resolve:.1f} | {_inhibited(outcome)} |"
        for outcome in outcomes
    ]
    head = "| alert | severity | fault | fires | notified | resolved | inhibits |"
    return "\n".join(
        (
            BEGIN,
            f"Run on {day}, {len(rows)} drills: seconds from the fault until Prometheus fires and",
            "until the inbox is notified, and from its end until the resolved notification.",
            "",
            head,
            "|---|---|---|---|---|---|---|",
            *rows,
            END,
        )
    )


def _fired(outcome: DrillResult) -> str:
    return f"{outcome.seconds['fired']:.1f}" if "fired" in outcome.seconds else "always"


def _which(name: str) -> str:
    _, slash, which = name.partition("/")
    return f" ({which})" if slash else ""


def _inhibited(outcome: DrillResult) -> str:
    return ", ".join(f"`{name}`" for name in sorted(FAULTS[outcome.name].inhibits))


def write(outcomes: Sequence[DrillResult], document: Path = DOCUMENT) -> None:
    """Replace the table in a document."""
    text = document.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    day = datetime.now(UTC).date().isoformat()
    document.write_text(f"{before}{as_markdown(outcomes, day)}{after}", "utf-8")
    print(f"wrote the table in {document}")
