"""The results table of the drills: for the terminal, and in docs/alerts.md."""

import re
from collections.abc import Mapping, Sequence
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
    return text_table(rows, ("alert", "severity", "notified, s", "resolved, s"), right={2, 3})


def rows(text: str) -> dict[str, str]:
    """The rows of the table in a document, by the name of the fault."""
    written = text.partition(BEGIN)[2].partition(END)[0]
    found = re.finditer(r"^\| ([A-Z]\w+)(?: \((\w+)\))? \|.*$", written, re.MULTILINE)
    return {f"{row[1]}/{row[2]}" if row[2] else row[1]: row[0] for row in found}


def _row(outcome: DrillResult) -> str:
    return (
        f"| {alert_of(outcome.name)}{_which(outcome.name)} | {outcome.severity} "
        f"| {FAULTS[outcome.name].description} | {_fired(outcome)} "
        f"| {outcome.seconds['notified']:.1f} | {outcome.to_resolve:.1f} | {_inhibited(outcome)} |"
    )


def _as_markdown(by_fault: Mapping[str, str], day: str) -> str:
    return "\n".join(
        (
            BEGIN,
            f"Last run on {day}: seconds from the fault until Prometheus fires and until",
            "the inbox is notified, and from its end until the resolved notification.",
            "",
            "| alert | severity | fault | fires | notified | resolved | inhibits |",
            "|---|---|---|---|---|---|---|",
            *(by_fault[name] for name in FAULTS if name in by_fault),
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


def write(
    outcomes: Sequence[DrillResult], document: Path = DOCUMENT, *, only_new: bool = False
) -> None:
    """Write the rows of these drills into the table of a document; other rows stay.

    Args:
        outcomes: The results.
        document: Where the table is.
        only_new: Whether the rows that the table has are kept too.
    """
    text = document.read_text("utf-8")
    written = rows(text)
    new = {each.name: _row(each) for each in outcomes if not (only_new and each.name in written)}
    if not new:
        return
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    day = datetime.now(UTC).date().isoformat()
    document.write_text(f"{before}{_as_markdown(written | new, day)}{after}", "utf-8")
    print(f"wrote {', '.join(new)} into the table in {document}")
