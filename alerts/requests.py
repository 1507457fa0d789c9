"""Alerts on what users feel: failing and slow requests."""

from alerts.alert import Alert, Severity, current
from alerts.enrichment import OF_ERRORS, OF_LATENCY, OF_RELEASES
from rules.requests import ERROR_RATIO, LATENCY_P95_BY_ROUTE, LOOP_LAG_P99
from rules.slo import (
    BAD_EVENTS_5M,
    LATENCY_P95_UNDER_SERVICE_PROMISE,
    REQUESTS_5M,
    REQUESTS_5M_BY_ROUTE,
    TARGET,
    THRESHOLD,
    THRESHOLD_BY_ROUTE,
)

ENOUGH_REQUESTS = 100
"""Below this many in five minutes, a p95 is the mood of five requests."""
ENOUGH_FAILURES = 10
"""Counted in failures, not requests: a small service that fails wholly still pages."""
PACE = 50
"""How many times faster than promised errors may come. At this pace a month's budget is gone in
14 hours; a promise of 99.9% pages at 5% errors."""
WORST = 0.5
"""The error ratio that always pages, however little is promised."""
LAG = 0.1
"""Seconds that each waiting request loses to a blocked event loop before someone should look."""

ERROR_RATIO_HIGH = Alert(
    name="ErrorRatioHigh",
    expr=f"{ERROR_RATIO} > on (job) "
    f"clamp_max((1 - {TARGET.select(slo='availability')}) * {PACE}, {WORST}) "
    f"and on (job) {BAD_EVENTS_5M.select(slo='availability')} >= {ENOUGH_FAILURES}",
    severity=Severity.PAGE,
    lasting="2m",
    keep_firing="5m",
    summary="{{ $labels.job }} fails {{ $value | humanizePercentage }} of its requests",
    description=f"Failed within five minutes: {current(BAD_EVENTS_5M, 'job', slo='availability')}. "
    f"Promised: {current(TARGET, 'job', slo='availability', show='humanizePercentage')} "
    "without failure.",
    clues=OF_ERRORS,
)

LATENCY_P95_HIGH = Alert(
    name="LatencyP95High",
    expr=f"{LATENCY_P95_UNDER_SERVICE_PROMISE} > on (job) {THRESHOLD.select(slo='latency')} "
    f"and on (job) {REQUESTS_5M} >= {ENOUGH_REQUESTS}",
    severity=Severity.TICKET,
    lasting="10m",
    summary="{{ $labels.job }} is slow: p95 is {{ $value | humanizeDuration }}",
    description=f"Promised: {current(THRESHOLD, 'job', slo='latency', show='humanizeDuration')} "
    f"at p95. Requests within five minutes: {current(REQUESTS_5M, 'job')}. Routes with a promise "
    "of their own are not counted here.",
    labels={"scope": "service"},
    clues=OF_LATENCY,
)

LATENCY_P95_HIGH_ON_ROUTE = Alert(
    name="LatencyP95High",
    expr=f"{LATENCY_P95_BY_ROUTE} > on (job, http_route) "
    f"{THRESHOLD_BY_ROUTE.select(slo='latency')} "
    f"and on (job, http_route) {REQUESTS_5M_BY_ROUTE} >= {ENOUGH_REQUESTS}",
    severity=Severity.TICKET,
    lasting="10m",
    summary="{{ $labels.job }} is slow on {{ $labels.http_route }}: "
    "p95 is {{ $value | humanizeDuration }}",
    description="Promised for this route: "
    + current(THRESHOLD_BY_ROUTE, "job", "http_route", slo="latency", show="humanizeDuration")
    + " at p95. Requests within five minutes: "
    + current(REQUESTS_5M_BY_ROUTE, "job", "http_route")
    + ".",
    labels={"scope": "route"},
    clues=OF_LATENCY,
)

EVENT_LOOP_LAG_HIGH = Alert(
    name="EventLoopLagHigh",
    expr=f"{LOOP_LAG_P99} > {LAG}",
    severity=Severity.TICKET,
    lasting="5m",
    summary="Something blocks the event loop of {{ $labels.job }}",
    description="Every request on {{ $labels.instance }} may wait "
    "{{ $value | humanizeDuration }} (p99) for nothing.",
    board="svc-runtime",
    clues=OF_RELEASES,
)
