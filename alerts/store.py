"""Alerts on the store of traces and logs, and on the issue tracker that reads it."""

from alerts.alert import Alert, Severity
from rules.monitoring import (
    ISSUES_READ,
    ISSUES_READ_FAILURES,
    STORE_LIMIT,
    STORE_OLDEST,
    STORE_REFUSED,
    STORE_SIZE,
)
from vitals.metrics.declarations import matching

SHORTEST_HOURS = 24
"""An alert of the night is looked into the day after: its traces must still be there."""
_UNREAD_SECONDS = 120
_FULL_SHARE = 0.8
"""The store removes its oldest content in sixteenths of its limit."""

STORE_REJECTS = Alert(
    name="StoreRejects",
    expr=f"{STORE_REFUSED.increase('job', 'signal', 'reason', reason=matching('busy|disk'))} > 0",
    fires_when="the store of traces and logs cannot keep up, or its disk refuses",
    not_when="a sender sends what is not OTLP",
    severity=Severity.TICKET,
    for_="2m",
    keep_firing_for="5m",
    summary="{{ $labels.job }} refuses {{ $labels.signal }}: {{ $labels.reason }}",
    description="It refused {{ $value | humanize }} requests within five minutes. Senders try "
    "again for a while, then they drop traces and log lines.",
    board="svc-alerts",
)

STORE_FULL = Alert(
    name="StoreFull",
    expr=f"(time() - {STORE_OLDEST.select()}) / 3600 < {SHORTEST_HOURS} "
    f"and {STORE_SIZE.select()} > {_FULL_SHARE} * {STORE_LIMIT.select()}",
    fires_when="the size limit of the store leaves less than a day of traces and logs",
    severity=Severity.TICKET,
    for_="15m",
    summary="{{ $labels.job }} keeps only {{ $value | humanize }} hours of traces and logs",
    description="Its size limit is reached, and it removes what is younger than a day. What led to "
    "an alert may be gone before somebody looks.",
    board="svc-alerts",
)

_READ = f"max by (job) ({ISSUES_READ.select()})"
ISSUES_UNREAD = Alert(
    name="IssuesUnread",
    # After a start nothing was read yet: then attempts that fail count.
    expr=f"time() - {_READ} > {_UNREAD_SECONDS} "
    f"or {ISSUES_READ_FAILURES.increase('job')} > 0 unless on (job) {_READ}",
    fires_when="the issue tracker has read no errors from the store for two minutes",
    severity=Severity.TICKET,
    for_="2m",
    summary="{{ $labels.job }} does not read the store of traces and logs",
    description="For more than two minutes it has read no errors: the store does not answer, or "
    "the issues cannot be written. New and reopened errors are not reported meanwhile, and links "
    "of messages to traces and logs may lead to nothing.",
    board="svc-alerts",
)
