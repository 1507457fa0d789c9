"""Alerts on requests: errors, latency, event loop lag."""

from alerts.alert import Alert, Severity, current_value
from alerts.enrichment import FOR_ERRORS, FOR_LATENCY, FOR_RELEASES
from rules.requests import ERROR_RATIO, LATENCY_P95_BY_ROUTE, LOOP_LAG_P99
from rules.slo import (
    BAD_EVENTS_5M,
    LATENCY_P95_UNDER_SERVICE_OBJECTIVE,
    REQUESTS_5M,
    REQUESTS_5M_BY_ROUTE,
    TARGET,
    THRESHOLD,
    THRESHOLD_BY_ROUTE,
)

MIN_REQUESTS = 100
"""Below this many in five minutes, five requests decide the p95."""
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
    expr=f"{ERROR_RATIO} > on (job) "
    f"clamp_max((1 - {TARGET.select(slo='availability')}) * {BURN_RATE}, {MAX_ERROR_RATIO}) "
    f"and on (job) {BAD_EVENTS_5M.select(slo='availability')} >= {MIN_FAILURES}",
    fires_when="the availability budget burns at a rate of 50",
    not_when="fewer than 10 failures in 5m",
    severity=Severity.PAGE,
    for_="2m",
    keep_firing_for="5m",
    summary="{{ $labels.job }} fails {{ $value | humanizePercentage }} of its requests",
    description="Failed within five minutes: "
    f"{current_value(BAD_EVENTS_5M, 'job', slo='availability')}. "
    f"Target: {current_value(TARGET, 'job', slo='availability', show='humanizePercentage')} "
    "without failure.",
    enrichments=FOR_ERRORS,
)

LATENCY_P95_HIGH = Alert(
    name="LatencyP95High",
    expr=f"{LATENCY_P95_UNDER_SERVICE_OBJECTIVE} > on (job) {THRESHOLD.select(slo='latency')} "
    f"and on (job) {REQUESTS_5M} >= {MIN_REQUESTS}",
    fires_when="p95 exceeds the threshold of the service",
    not_when="fewer than 100 requests in 5m",
    severity=Severity.TICKET,
    for_="10m",
    summary="{{ $labels.job }} is slow: p95 is {{ $value | humanizeDuration }}",
    description="Threshold: "
    f"{current_value(THRESHOLD, 'job', slo='latency', show='humanizeDuration')} at p95. "
    f"Requests within five minutes: {current_value(REQUESTS_5M, 'job')}. Routes with their "
    "own objective are not counted here.",
    labels={"scope": "service"},
    enrichments=FOR_LATENCY,
)

LATENCY_P95_HIGH_ON_ROUTE = Alert(
    name="LatencyP95High",
    expr=f"{LATENCY_P95_BY_ROUTE} > on (job, http_route) "
    f"{THRESHOLD_BY_ROUTE.select(slo='latency')} "
    f"and on (job, http_route) {REQUESTS_5M_BY_ROUTE} >= {MIN_REQUESTS}",
    fires_when="p95 of a route exceeds the route's own threshold",
    not_when="fewer than 100 requests in 5m",
    severity=Severity.TICKET,
    for_="10m",
    summary="{{ $labels.job }} is slow on {{ $labels.http_route }}: "
    "p95 is {{ $value | humanizeDuration }}",
    description="Threshold of this route: "
    + current_value(THRESHOLD_BY_ROUTE, "job", "http_route", slo="latency", show="humanizeDuration")
    + " at p95. Requests within five minutes: "
    + current_value(REQUESTS_5M_BY_ROUTE, "job", "http_route")
    + ".",
    labels={"scope": "route"},
    enrichments=FOR_LATENCY,
)

EVENT_LOOP_LAG_HIGH = Alert(
    name="EventLoopLagHigh",
    expr=f"{LOOP_LAG_P99} > {MAX_LAG}",
    fires_when="event loop lag exceeds 100 ms (p99)",
    severity=Severity.TICKET,
    for_="5m",
    summary="Something blocks the event loop of {{ $labels.job }}",
    description="Every request on {{ $labels.instance }} may wait "
    "{{ $value | humanizeDuration }} (p99) for the event loop.",
    board="svc-runtime",
    enrichments=FOR_RELEASES,
)
