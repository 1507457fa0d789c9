"""The shape of an alert: when it fires, how urgent it is and what the person is told."""

from dataclasses import dataclass, field
from enum import StrEnum

from alerts.enrichment import Clue, line
from rules.signal import Signal


class Severity(StrEnum):
    """How urgent an alert is; the value of the label ``severity``.

    A page wakes someone: users are hurt now. A ticket waits for working hours. None is for
    machines, such as the heartbeat that proves the way of an alert is open.
    """

    PAGE = "page"
    TICKET = "ticket"
    NONE = "none"


@dataclass(frozen=True)
class Alert:
    """A condition that a person has to hear of.

    Several alerts may share a name, where one trouble shows itself in several ways; the runbook
    belongs to the name.

    Attributes:
        name: The trouble in short: ``LatencyP95High``. ``runbooks/<name>.md`` says what to do.
        expr: PromQL; every series that it returns is one firing alert.
        severity: How urgent.
        summary: One sentence; Prometheus' templates (``{{ $labels.job }}``) are filled in.
        description: The figures, likewise.
        lasting: How long the condition must hold before it fires; at once if empty.
        keep_firing: How long it goes on firing after the condition ended, against flapping.
        board: The uid of the board that shows it.
        clues: What else is looked up when it is told, see ``alerts.enrichment``.
        labels: More labels, such as what tells alerts of one name apart.
    """

    name: str
    expr: str
    severity: Severity
    summary: str
    description: str
    lasting: str = ""
    keep_firing: str = ""
    board: str = "svc-overview"
    clues: tuple[Clue, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def annotations(self) -> dict[str, str]:
        """What travels with the alert for people."""
        return {
            "summary": self.summary,
            "description": self.description,
            **({"cause": line(self.clues)} if self.clues else {}),
            "board": self.board,
            "runbook": f"{self.name}.md",
        }


def current(signal: Signal, *same: str, show: str = "humanize", **only: str) -> str:
    """Write a template that shows a signal's present value beside the alert's own.

    Args:
        signal: What to look up.
        same: Labels whose values are those of the alert.
        show: The template function that writes the value: ``humanizeDuration``,
            ``humanizePercentage``, ``humanize``.
        only: Labels with fixed values.
    """
    fixed = [f"{label}='{value}'" for label, value in only.items()]
    matchers = ",".join([*(f"{label}='%s'" for label in same), *fixed])
    arguments = "".join(f" $labels.{label}" for label in same)
    return (
        f'{{{{ with printf "{signal.record}{{{matchers}}}"{arguments} | query }}}}'
        f"{{{{ . | first | value | {show} }}}}{{{{ end }}}}"
    )
