"""Alerts on the services that a service calls over HTTP."""

from alerts.alert import Alert, Severity, current_value
from alerts.investigation import OF_DEPENDENCIES
from alerts.regressions import regressed, usual_value
from alerts.routes import MIN_BAD, Z_SHARE
from rules.baselines import DAYS_BEFORE, OUTGOING_MEAN, OUTGOING_MEAN_5M
from rules.dependencies import (
    OUTGOING_5M,
    OUTGOING_FAILURE_RATIO,
    OUTGOING_FAILURES_5M,
    OUTGOING_P95,
)
from rules.routes import confident

FAILING_SHARE = 0.05
"""One call in twenty; what a client that tries again does not notice."""
SLOW_SECONDS = 1
"""The mean above which a call makes any request slow, unless it always took that long."""
MIN_CALLS = 4
"""Calls within five minutes: one a minute, less what falls on the edges of the window."""
FACTOR, MORE_SECONDS = 3, 0.1
"""The mean of calls against that of the same hour of the days before."""

_SERVER = ("job", "server_address")
_FAILURES = f"({OUTGOING_FAILURES_5M} + ({OUTGOING_FAILURES_5M} offset 5m or {OUTGOING_5M} * 0))"

DEPENDENCY_FAILS = Alert(
    name="DependencyFails",
    expr=f"{OUTGOING_FAILURE_RATIO} and {_FAILURES} >= {MIN_BAD} and "
    f"{confident(str(OUTGOING_FAILURES_5M), str(OUTGOING_5M), str(FAILING_SHARE), Z_SHARE)}",
    fires_when="more than 5% of the requests to another service fail (Wilson bound of 99.5%)",
    not_when="fewer than 5 failures in 10m; 4xx responses",
    severity=Severity.TICKET,
    for_="1m",
    summary="{{ $labels.server_address }}, which {{ $labels.job }} calls, fails "
    "{{ $value | humanizePercentage }} of its requests",
    description=f"Failed within five minutes: {current_value(OUTGOING_FAILURES_5M, *_SERVER)} of "
    f"{current_value(OUTGOING_5M, *_SERVER)}. No response, a broken one, a time-out "
    "or 5xx.",
    investigation=OF_DEPENDENCIES,
)

_ALWAYS_SLOW = f"{OUTGOING_MEAN[DAYS_BEFORE]} * 2 > {OUTGOING_MEAN_5M}"

DEPENDENCY_SLOW = Alert(
    name="DependencySlow",
    expr=f"({OUTGOING_MEAN_5M} > {SLOW_SECONDS} unless {_ALWAYS_SLOW} "
    f"or {regressed(str(OUTGOING_MEAN_5M), OUTGOING_MEAN, FACTOR, MORE_SECONDS, *_SERVER)}) "
    f"and {OUTGOING_5M} >= {MIN_CALLS}",
    fires_when="requests to another service take a second, or three times as long as in the same "
    "hour of the days before and 100 ms more",
    not_when="fewer than 4 requests in 5m, or half as slow on the days before",
    severity=Severity.TICKET,
    for_="5m",
    summary="{{ $labels.server_address }}, which {{ $labels.job }} calls, takes "
    "{{ $value | humanizeDuration }}",
    description=f"p95: {current_value(OUTGOING_P95, *_SERVER, show='humanizeDuration')}."
    + usual_value(OUTGOING_MEAN, *_SERVER, show="humanizeDuration")
    + " A request that waits for it takes at least as long, and so does a transaction or lock that "
    "it holds.",
    investigation=OF_DEPENDENCIES,
)
