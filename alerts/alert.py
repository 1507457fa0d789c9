"""Alert: the declaration of one alerting rule."""

from dataclasses import dataclass, field
from enum import StrEnum

from alerts.enrichment import Enrichment, template
from alerts.investigation import Investigation
from rules.signal import Signal
from rules.watched import WATCHED


class Severity(StrEnum):
    """How urgent an alert is; the value of the label ``severity``.

    A page wakes the person on call: users are affected now. A ticket waits for working hours.
    None is for machines, such as the heartbeat that proves that notifications are delivered.
    """

    PAGE = "page"
    TICKET = "ticket"
    NONE = "none"


@dataclass(frozen=True)
class Alert:
    """An alerting rule.

    Several alerts may share a name if they are variants of one problem; the runbook belongs to the
    name.

    Attributes:
        name: The problem in short: ``LatencyP95High``. Its runbook is ``runbooks/<name>.md``.
        expr: PromQL; every series that it returns is one firing alert.
        fires_when: The condition in words, for the table in docs/alerts.md.
        not_when: What keeps it quiet all the same, for that table.
        severity: Its urgency.
        summary: One sentence, as a Prometheus template (``{{ $labels.job }}``).
        description: The values, likewise.
        for_: How long the condition must be true before the alert fires; at once if empty.
        keep_firing_for: How long it keeps firing after the condition ended, against flapping.
        board: The uid of the board that shows it.
        enrichments: Possible causes that are looked up, see ``alerts.enrichment``.
        investigation: What else is looked up, see ``alerts.investigation``.
        issue: Path of its issue in the viewer, as a template; empty for none.
        labels: More labels, such as those that distinguish alerts of one name.
        of_jobs: The series whose jobs it applies to, if exporters without the kit have all
            its metrics.
    """

    name: str
    expr: str
    fires_when: str
    severity: Severity
    summary: str
    description: str
    not_when: str = ""
    for_: str = ""
    keep_firing_for: str = ""
    board: str = "svc-overview"
    enrichments: tuple[Enrichment, ...] = ()
    investigation: Investigation | None = None
    issue: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    of_jobs: str = WATCHED.record

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations of the rule."""
        return {
            "summary": self.summary,
            "description": self.description,
            **({"cause": template(self.enrichments)} if self.enrichments else {}),
            **(self.investigation.annotations if self.investigation else {}),
            **({"issue": self.issue} if self.issue else {}),
            "board": self.board,
            "runbook": f"{self.name}.md",
        }


def current_value(
    signal: Signal, *same: str, show: str = "humanize", text: str = "{}", **only: str
) -> str:
    """Write a template that shows the current value of a signal.

    Args:
        signal: What to look up.
        same: Labels whose values are those of the alert.
        show: The template function that writes the value: ``humanizeDuration``,
            ``humanizePercentage``, ``humanize``.
        text: Where the value stands, as ``{}``; without a value there is no text.
        only: Labels with fixed values.
    """
    fixed = [f"{label}='{value}'" for label, value in only.items()]
    matchers = ",".join([*(f"{label}=%q" for label in same), *fixed])  # quoted as PromQL quotes
    arguments = "".join(f" $labels.{label}" for label in same)
    return (
        f'{{{{ with printf "{signal.record}{{{matchers}}}"{arguments} | query }}}}'
        f"{text.format(f'{{{{ . | first | value | {show} }}}}')}{{{{ end }}}}"
    )
