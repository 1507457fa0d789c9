"""Recording rules of each route and method: counts of requests, failures and slow requests.

Counts, not shares alone: at one request a minute a share says nothing without the number that it is
a share of. GET and POST of one route are different work, so nothing here mixes them.

They come from the duration histogram, which has the method: a failure is a 5xx or an exception, a
request is slow above the threshold of its route's latency objective, or else the service's, which
is a bucket bound.
"""

from rules import slo
from rules.requests import BUCKETS, MATCHED, REQUESTS_BY_ERROR
from rules.signal import Signal, or_zero, quantile, within_ten
from vitals.metrics.catalogue import HTTP_REQUEST_DURATION
from vitals.metrics.declarations import matching, not_matching

ROUTE = ("job", "http_request_method", "http_route")
"""The labels that identify a route and method."""
NOT_FAILED = "|client_disconnected|server_shutdown"
"""Error types below 500 that are no failures of the service, none included."""

_HTTP = HTTP_REQUEST_DURATION.name


REQUESTS_5M = Signal(
    "job_method_route:http_server_requests:increase5m",
    "How many requests did each route get within five minutes, by method?",
    "short",
    REQUESTS_BY_ERROR.sum(*ROUTE, http_route=MATCHED),
)
_FAILED = " or ".join(
    REQUESTS_BY_ERROR.select(**way, http_route=MATCHED)
    for way in (
        {"http_response_status_code": matching("5..")},
        {"error_type": not_matching(NOT_FAILED)},
    )
)
FAILURES_5M = Signal(
    "job_method_route:http_server_failures:increase5m",
    "How many requests of each route failed within five minutes, by method?",
    "short",
    or_zero(f"sum by ({', '.join(ROUTE)}) ({_FAILED})", REQUESTS_5M),
)
FAILURE_RATIO = Signal(
    "job_method_route:http_server_failures:ratio_increase5m",
    "What share of the requests of each route fails, by method?",
    "percentunit",
    f"{FAILURES_5M} / ({REQUESTS_5M} > 0)",
)
_MATCHED_BUCKETS = BUCKETS.select(http_route=MATCHED)
P95 = Signal(
    f"job_method_route:{_HTTP}:p95_5m",
    "What is the p95 latency of each route, by method?",
    "s",
    quantile(0.95, _MATCHED_BUCKETS),
)
SECONDS_5M = Signal(
    f"job_method_route:{_HTTP}_sum:increase5m",
    "How many seconds did the requests of each route take within five minutes, by method?",
    "s",
    HTTP_REQUEST_DURATION.amount(*ROUTE, http_route=MATCHED),
)
MEAN = Signal(
    f"job_method_route:{_HTTP}:mean5m",
    "How long does a request of each route take, by method?",
    "s",
    f"{SECONDS_5M} / ({REQUESTS_5M} > 0)",
)

# -- Slow requests ------------------------------------------------------------------------------

_OWN = slo.THRESHOLD.select(slo="latency", http_route=MATCHED)
_THRESHOLDS = f'count_values by (job, http_route) ("le", {slo.THRESHOLD.select(slo="latency")})'
THRESHOLD_BUCKETS = Signal(
    "job_route_le:slo_threshold_seconds:count",
    "Which bucket bound is the threshold of each latency objective?",
    "short",
    # A whole number of seconds is exported as 1.0.
    f'{_THRESHOLDS} or label_replace({_THRESHOLDS}, "le", "$1.0", "le", "([0-9]+)")',
)
_FAST = (
    f"{_MATCHED_BUCKETS} and on (job, http_route, le) "
    f"{THRESHOLD_BUCKETS.select(http_route=MATCHED)} "
    f"or ({_MATCHED_BUCKETS} unless on (job, http_route) {_OWN}) "
    f"and on (job, le) {THRESHOLD_BUCKETS.select(http_route='')}"
)
_TIMED = BUCKETS.sum(*ROUTE, le="+Inf", http_route=MATCHED)
SLOW_5M = Signal(
    "job_method_route:http_server_slow_requests:increase5m",
    "How many requests of each route took longer than its threshold within five minutes?",
    "short",
    f"clamp_min(1 - sum by ({', '.join(ROUTE)}) ({_FAST}) / ({_TIMED} > 0), 0) "
    f"* on ({', '.join(ROUTE)}) {REQUESTS_5M}",
)

# -- Ten minutes: two windows of five -----------------------------------------------------------

REQUESTS_10M = within_ten(REQUESTS_5M, "And within ten minutes?")
FAILURES_10M = within_ten(FAILURES_5M, "How many failed within ten minutes?")
SLOW_10M = within_ten(SLOW_5M, "How many were slow within ten minutes?")

# -- What a route may fail ----------------------------------------------------------------------

FAST_BURN = 10
"""The burn rate from which a route needs a person: it spends a month's budget in three days."""
MOST_FAILURES = 0.01
"""The share of failures that needs a person, however lax the objective, unless it allows more."""
_ALLOWED = f"(1 - {slo.TARGET.select(slo='availability')})"
_NOTABLE = f"(clamp_max({FAST_BURN} * {_ALLOWED}, {MOST_FAILURES}) > {_ALLOWED} or {_ALLOWED})"
NOTABLE_FAILURES = Signal(
    "job_route:slo_target_ratio:notable_failure_ratio",
    "From which share of failures on does a route need a person?",
    "percentunit",
    f"max by (job, http_route) ({_NOTABLE})",
)
FAILURES_ALLOWED = Signal(
    "job_method_route:slo_target_ratio:notable_failure_ratio",
    "And that of each route and method?",
    "percentunit",
    f"{REQUESTS_5M} * 0 + on (job, http_route) group_left () "
    f"{NOTABLE_FAILURES.select(http_route=MATCHED)} "
    f"or {REQUESTS_5M} * 0 + on (job) group_left () "
    f"sum by (job) ({NOTABLE_FAILURES.select(http_route='')})",
)


def confident(bad: str, events: str, share: str, z: float) -> str:
    """Write the condition that more than a share of events is bad, with confidence.

    It is true exactly where the lower bound of Wilson's interval of the share lies above ``share``
    (the score test), and needs no division.

    Args:
        bad: The number of bad events.
        events: The number of events.
        share: The share, above 0 and below 1.
        z: The quantile of the normal distribution: 1.645 for 95 %, 2.576 for 99.5 %.
    """
    return f"{bad} - {events} * {share} > {z} * sqrt({events} * {share} * (1 - {share}))"
