"""Alerts on errors: issues that are new, or occur again after they were resolved.

The issue tracker tells Prometheus of each for some minutes, once; so the alert fires once and
ends by itself, which is not notified (``alerts.alertmanager``).
"""

from alerts.alert import Alert, Severity
from rules.monitoring import ISSUE_NEW, ISSUE_REOPENED, IssueLabels
from vitals.metrics.declarations import Gauge, not_matching

_BY = "job, fingerprint, type, place, http_route, release"
_WHERE = (
    "{{ with $labels.http_route }} on {{ . }}{{ end }}"
    "{{ with $labels.release }}, in release {{ . }}{{ end }}."
)
_ERROR = "{{ $labels.type }}{{ with $labels.place }} at {{ . }}{{ end }}"
_PAGE = "issues/?id={{ $labels.fingerprint }}"
"""Path of the issue in the viewer."""


UNAVAILABLE = "50[234]"
"""Types of errors of requests that are answered so, because something that the service needs is
unavailable. That is another alert's trouble, and seen on every route at once."""


def _of_services(metric: Gauge[IssueLabels]) -> str:
    """The issue tracker's series with the service as their job, as alerts of a service have it."""
    raised = metric.select(type=not_matching(UNAVAILABLE))
    return f'max by ({_BY}) (label_replace({raised}, "job", "$1", "service", "(.+)"))'


ERROR_NEW = Alert(
    name="ErrorNew",
    expr=_of_services(ISSUE_NEW),
    fires_when="an error occurs that has no issue yet",
    not_when="a request is answered 502, 503 or 504: what it needs is unavailable",
    severity=Severity.TICKET,
    summary=f"New error in {{{{ $labels.job }}}}: {_ERROR}",
    description=f"First seen {{{{ $value | humanizeTimestamp }}}}{_WHERE}",
    issue=_PAGE,
)

ERROR_REOPENED = Alert(
    name="ErrorReopened",
    expr=_of_services(ISSUE_REOPENED),
    fires_when="an error occurs after its issue was resolved",
    not_when="its issue is ignored, or of requests that are answered 502, 503 or 504",
    severity=Severity.TICKET,
    summary=f"Error is back in {{{{ $labels.job }}}}: {_ERROR}",
    description=f"Seen again {{{{ $value | humanizeTimestamp }}}}{_WHERE} Its issue was resolved.",
    issue=_PAGE,
)
