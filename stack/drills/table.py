"""The results table of the drills: for the terminal, and in docs/alerts.md."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from stack.drills.drill import Outcome
from stack.drills.faults import FAULTS, alert_of
from stack.installation.paths import CHECKOUT

DOCUMENT = CHECKOUT / "docs" / "alerts.md"
BEGIN, END = "<!-- written by the drill run -->", "<!-- end of the drill run -->"


def as_text(outcomes: Sequence[Outcome]) -> str:
    """One line per drill."""
    width = max((len(outcome.name) for outcome in outcomes), default=0)
    return "\n".join(
        f"{outcome.name:<{width}}  {outcome.severity:<6}  notified after "
        f"{outcome.seconds['notified']:5.1f} s, "
        f"resolved {outcome.to_resolve:5.1f} s after the fault ended"
        for outcome in outcomes
    )


def rows(text: str) -> dict[str, str]:
    """The rows of the table in a document, by the name of the fault."""
    written = text.partition(BEGIN)[2].partition(END)[0]
    found = re.finditer(r"^\| ([A-Z]\w+)(?: \((\w+)\))? \|.*$", written, re.MULTILINE)
    return {f"{row[1]}/{row[2]}" if row[2] else row[1]: row[0] for row in found}


def _row(outcome: Outcome) -> str:
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


def _fired(outcome: Outcome) -> str:
    return f"{outcome.seconds['fired']:.1f}" if "fired" in outcome.seconds else "always"


def _which(name: str) -> str:
    _, slash, which = name.partition("/")
    return f" ({which})" if slash else ""


def _inhibited(outcome: Outcome) -> str:
    return ", ".join(f"`{name}`" for name in sorted(FAULTS[outcome.name].inhibits))


def write(
    outcomes: Sequence[Outcome], document: Path = DOCUMENT, *, only_new: bool = False
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
