"""Alerts on requests: errors, latency, event loop lag."""

from functools import partial

from alerts.alert import Alert, Severity, current_value
from alerts.enrichment import FOR_ERRORS, FOR_LATENCY, FOR_LOOPS
from alerts.investigation import OF_ERRORS, OF_LATENCY, OF_REQUESTS, OF_ROUTE_LATENCY
from rules.requests import LATENCY_P95_BY_ROUTE, LOOP_LAG_P99, MATCHED
from rules.saturation import LOOP_BLOCKED_P99
from rules.slo import (
    BAD_EVENTS_5M,
    BAD_RATIO,
    EVENTS_5M,
    LATENCY_P95_UNDER_SERVICE_OBJECTIVE,
    TARGET,
    THRESHOLD,
)
from vitals.metrics.declarations import Matcher

MIN_REQUESTS = 100
"""Below this many in five minutes, five requests decide a p95."""
MIN_FAILURES = 10
"""A number of failures, not of requests: a small service that fails completely still pages."""
BURN_RATE = 50
"""The burn rate that pages. At this rate a month's budget is gone in 14 hours; a target of 99.9%
pages at 5% errors."""
MAX_ERROR_RATIO = 0.5
"""The error ratio that always pages, however low the target."""
MAX_LAG = 0.1
"""Seconds (p99) of event loop lag that need attention."""

ERROR_RATIO_HIGH = Alert(
    name="ErrorRatioHigh",
    expr=f"max by (job, http_route) ({BAD_RATIO['5m'].select(slo='availability')} "
    f"> on (job, http_route) clamp_max((1 - {TARGET.select(slo='availability')}) * {BURN_RATE}, "
    f"{MAX_ERROR_RATIO}) "
    f"and on (job, http_route) {BAD_EVENTS_5M.select(slo='availability')} >= {MIN_FAILURES})",
    fires_when="an availability budget burns at a rate of 50",
    not_when="fewer than 10 failures in 5m",
    severity=Severity.PAGE,
    # Failures of a moment hold it for the whole window: a longer time would only tell it later.
    for_="1m",
    keep_firing_for="5m",
    summary="{{ $labels.job }} fails {{ $value | humanizePercentage }} of its requests"
    "{{ with $labels.http_route }} on {{ . }}{{ end }}",
    description="Failed within five minutes: "
    f"{current_value(BAD_EVENTS_5M, 'job', 'http_route', slo='availability')}. Target: "
    + current_value(TARGET, "job", "http_route", slo="availability", show="humanizePercentage")
    + " without failure.",
    enrichments=FOR_ERRORS,
    investigation=OF_ERRORS,
)


def _too_slow(by: str, route: str | Matcher) -> str:
    """Write the condition: more requests exceed the threshold than the objective allows."""
    only = {"slo": "latency", "http_route": route}
    return (
        f"max by ({by}) ({BAD_RATIO['5m'].select(**only)} "
        f"> on ({by}) (1 - {TARGET.select(**only)}) "
        f"and on ({by}) {EVENTS_5M.select(**only)} >= {MIN_REQUESTS})"
    )


_OF_SERVICE = partial(current_value, slo="latency", http_route="")
_OF_ROUTE = partial(current_value, slo="latency")


def _summary(where: str, threshold: str) -> str:
    return (
        f"{{{{ $labels.job }}}} is slow{where}: "
        f"{{{{ $value | humanizePercentage }}}} of requests exceed {threshold}"
    )


LATENCY_P95_HIGH = Alert(
    name="LatencyP95High",
    expr=_too_slow("job", ""),
    fires_when="more requests exceed the threshold of the service than its objective allows",
    not_when="fewer than 100 requests in 5m",
    severity=Severity.TICKET,
    for_="10m",
    summary=_summary("", _OF_SERVICE(THRESHOLD, "job", show="humanizeDuration")),
    description="Objective: "
    + _OF_SERVICE(TARGET, "job", show="humanizePercentage")
    + " within "
    + _OF_SERVICE(THRESHOLD, "job", show="humanizeDuration")
    + ". p95: "
    + current_value(LATENCY_P95_UNDER_SERVICE_OBJECTIVE, "job", show="humanizeDuration")
    + f". Requests within five minutes: {_OF_SERVICE(EVENTS_5M, 'job')}. Routes with their own "
    "objective are not counted here.",
    labels={"scope": "service"},
    enrichments=FOR_LATENCY,
    investigation=OF_LATENCY,
)

LATENCY_P95_HIGH_ON_ROUTE = Alert(
    name="LatencyP95High",
    expr=_too_slow("job, http_route", MATCHED),
    fires_when="more requests of a route exceed its own threshold than its objective allows",
    not_when="fewer than 100 requests in 5m",
    severity=Severity.TICKET,
    for_="10m",
    summary=_summary(
        " on {{ $labels.http_route }}",
        _OF_ROUTE(THRESHOLD, "job", "http_route", show="humanizeDuration"),
    ),
    description="Objective of this route: "
    + _OF_ROUTE(TARGET, "job", "http_route", show="humanizePercentage")
    + " within "
    + _OF_ROUTE(THRESHOLD, "job", "http_route", show="humanizeDuration")
    + ". p95: "
    + current_value(LATENCY_P95_BY_ROUTE, "job", "http_route", show="humanizeDuration")
    + f". Requests within five minutes: {_OF_ROUTE(EVENTS_5M, 'job', 'http_route')}.",
    labels={"scope": "route"},
    enrichments=FOR_LATENCY,
    investigation=OF_ROUTE_LATENCY,
)

EVENT_LOOP_LAG_HIGH = Alert(
    name="EventLoopLagHigh",
    # Where the system does not tell what a thread waited for a CPU, the code is suspected.
    expr=f"{LOOP_LAG_P99} > {MAX_LAG} unless on (job, instance) {LOOP_BLOCKED_P99} <= {MAX_LAG}",
    fires_when="event loop lag exceeds 100 ms (p99)",
    not_when="that is time that the process waits for a CPU",
    severity=Severity.TICKET,
    for_="5m",
    summary="Something blocks the event loop of {{ $labels.job }}",
    description="Every request on {{ $labels.instance }} may wait "
    "{{ $value | humanizeDuration }} (p99) for the event loop.",
    board="svc-runtime",
    enrichments=FOR_LOOPS,
    investigation=OF_REQUESTS,
)
