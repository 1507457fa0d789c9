"""Alerts on single routes and methods, by counts and confidence: at any traffic.

The objectives' alerts see a service; a route of one request a minute, or one group of users, is
lost in it while a month's budget is intact. docs/decisions/0025 has the figures.
"""

from alerts.alert import Alert, Severity, current_value
from alerts.enrichment import FOR_ROUTE_ERRORS, FOR_ROUTE_LATENCY
from alerts.investigation import OF_ROUTE_ERRORS, OF_ROUTE_LATENCY
from rules.baselines import DAYS_BEFORE, ROUTE_SLOW
from rules.routes import (
    FAILURE_RATIO,
    FAILURES_5M,
    FAILURES_10M,
    FAILURES_ALLOWED,
    P95,
    REQUESTS_5M,
    REQUESTS_10M,
    SLOW_5M,
    SLOW_10M,
    confident,
)
from vitals.metrics.catalogue import PROCESS_START_TIME

MIN_BAD = 5
"""Bad requests within ten minutes: one a minute for five minutes, or five users of a busy route."""
MOST = 0.5
"""More than half of a route's requests: what is left over is chance."""
Z_MOST, Z_SHARE = 1.645, 2.576
"""Confidence of 95 % where most requests are bad, which chance does not bring about; of 99.5 % of a
small share, which is compared hundreds of times a day."""

WARMING = "6m"
"""Since all instances started, as with a release: their first requests fill pools and caches, and
are in the five minutes before."""

WHERE = "{{ $labels.http_request_method }} {{ $labels.http_route }} of {{ $labels.job }}"
_ROUTE = ("job", "http_request_method", "http_route")

MOST_FAIL = (
    f"{FAILURES_10M} >= {MIN_BAD} "
    f"and {confident(str(FAILURES_5M), str(REQUESTS_5M), str(MOST), Z_MOST)}"
)
"""More than half of a route's requests fail."""
MOST_SLOW = (
    f"{SLOW_10M} >= {MIN_BAD} and {confident(str(SLOW_5M), str(REQUESTS_5M), str(MOST), Z_MOST)}"
)
"""More than half of a route's requests exceed its threshold."""


def fails_more(share: str) -> str:
    """Write the condition: more of a route's requests fail than that share, and still do."""
    return (
        f"{FAILURES_10M} >= {MIN_BAD} "
        f"and {confident(str(FAILURES_10M), str(REQUESTS_10M), share, Z_SHARE)} "
        f"and {FAILURES_5M} > {REQUESTS_5M} * {share}"
    )


_COUNTED = (
    f"{current_value(FAILURES_10M, *_ROUTE)} of {current_value(REQUESTS_10M, *_ROUTE)} requests "
    "failed within ten minutes"
)

ROUTE_FAILS = Alert(
    name="RouteFails",
    expr=f"{FAILURE_RATIO} and {MOST_FAIL}",
    fires_when="most requests of a route fail (Wilson bound of 95% above half)",
    not_when="fewer than 5 failures in 10m",
    severity=Severity.PAGE,
    for_="2m",
    keep_firing_for="5m",
    summary=f"{WHERE} fails: {{{{ $value | humanizePercentage }}}} of its requests",
    description=f"{_COUNTED}.",
    board="svc-endpoint",
    enrichments=FOR_ROUTE_ERRORS,
    investigation=OF_ROUTE_ERRORS,
)

ROUTE_ERRORS = Alert(
    name="RouteErrors",
    expr=f"{FAILURES_10M} / {REQUESTS_10M} and ({fails_more(str(FAILURES_ALLOWED))}) "
    f"unless ({MOST_FAIL})",
    fires_when="a route fails more than ten times the share that its objective allows, or than 1%",
    not_when="fewer than 5 failures in 10m, or what may be chance (Wilson bound of 99.5%)",
    severity=Severity.TICKET,
    for_="1m",
    summary=f"{WHERE} fails some requests: {{{{ $value | humanizePercentage }}}}",
    description=f"{_COUNTED}. The share that needs a person: "
    f"{current_value(FAILURES_ALLOWED, *_ROUTE, show='humanizePercentage')}.",
    board="svc-endpoint",
    labels={"compared": "objective"},
    enrichments=FOR_ROUTE_ERRORS,
    investigation=OF_ROUTE_ERRORS,
)

_STARTING = (
    f"min by (job) ({PROCESS_START_TIME.select()}) "
    f"> max by (job) (timestamp({PROCESS_START_TIME.select()} offset {WARMING}))"
)

ROUTE_SLOW_ALERT = Alert(
    name="RouteSlow",
    expr=f"{SLOW_5M} / {REQUESTS_5M} and {MOST_SLOW} unless {ROUTE_SLOW[DAYS_BEFORE]} > {MOST} / 2 "
    f"unless on (job) ({_STARTING})",
    fires_when="most requests of a route exceed its threshold (Wilson bound of 95% above half)",
    not_when="fewer than 5 slow ones in 10m, a route that was as slow on the days before, or all "
    "instances started within 6m",
    severity=Severity.TICKET,
    for_="1m",
    summary=f"{WHERE} is slow: {{{{ $value | humanizePercentage }}}} of its requests exceed the "
    "threshold",
    description=f"p95: {current_value(P95, *_ROUTE, show='humanizeDuration')}. "
    f"{current_value(SLOW_10M, *_ROUTE)} of {current_value(REQUESTS_10M, *_ROUTE)} requests were "
    "slow within ten minutes.",
    board="svc-endpoint",
    labels={"compared": "objective"},
    enrichments=FOR_ROUTE_LATENCY,
    investigation=OF_ROUTE_LATENCY,
)
