"""Declarations of the metrics of the keeper of issues (``stack/issues``)."""

from typing import NamedTuple

from vitals.metrics.declarations import Counter, Gauge, NoLabels


class IssueStateLabels(NamedTuple):
    """The label of a state: ``open``, ``resolved`` or ``ignored``."""

    state: str


class IssueLabels(NamedTuple):
    """Labels of an issue that is new or reopened, as of the occurrence that made it so.

    At most 50 of them have series at once, each for fifteen minutes.
    """

    service: str
    fingerprint: str
    type: str
    place: str
    http_route: str
    release: str


class FailureLabels(NamedTuple):
    """The label of a failure: ``store`` or ``disk``."""

    reason: str


ISSUES = Gauge("vitals_issues", "Issues by state.", IssueStateLabels)
ISSUE_NEW = Gauge(
    "vitals_issue_new_time_seconds",
    "When a new issue was first seen, as Unix time; for fifteen minutes.",
    IssueLabels,
)
ISSUE_REOPENED = Gauge(
    "vitals_issue_reopened_time_seconds",
    "When a resolved issue was seen again, as Unix time; for fifteen minutes.",
    IssueLabels,
)
ISSUES_READ = Gauge(
    "vitals_issues_last_read_time_seconds",
    "When errors were last read from the store, as Unix time.",
    NoLabels,
)
ISSUES_READ_FAILURES = Counter(
    "vitals_issues_read_failures_total",
    "Attempts to read errors that failed: the store did not answer, or the disk was full.",
    FailureLabels,
)
