"""Recording rules of requests: rate, errors and latency by job and by route; event loop lag.

Signals are absent, never NaN, without traffic. Ratios are zero without failures, even if a counter
of failures does not exist yet.

A failure is a bad event of the availability objective: 5xx and exceptions, with a matched route or
without. A 4xx without a route is no event: a scanner would make a failing service look better.
Latency of a job excludes unmatched requests for the same reason.

Each metric of the instances is read once, by the record that keeps all labels which are needed:
there are as many series as instances, and reading them is what rules cost (docs/decisions/0045).
"""

from rules.signal import Signal, defined, or_zero, quantile
from vitals.metrics.catalogue import (
    ERRORS,
    EVENT_LOOP_LAG,
    HTTP_REQUEST_DURATION,
    OTHER,
    SLO_EVENTS,
)
from vitals.metrics.declarations import excluding

MATCHED = excluding("")
WINDOW = 300
"""Seconds of the five minutes by which an increase is more than a rate."""

_HTTP = HTTP_REQUEST_DURATION.name

REQUESTS_BY_ERROR = Signal(
    f"job_method_route_status_error:{_HTTP}_count:increase5m",
    "How many requests did each route get within five minutes, by method, status and error?",
    "short",
    HTTP_REQUEST_DURATION.increase(
        *("job", "http_request_method", "http_route", "http_response_status_code", "error_type")
    ),
)
BUCKETS = Signal(
    f"job_method_route_le:{_HTTP}_bucket:rate5m",
    "How are durations of each route distributed, by method?",
    "reqps",
    HTTP_REQUEST_DURATION.buckets_rate("job", "http_request_method", "http_route"),
)
REQUESTS_BY_STATUS = Signal(
    f"job_route_status:{_HTTP}_count:rate5m",
    "How many requests arrive at each route, by status?",
    "reqps",
    f"{REQUESTS_BY_ERROR.sum('job', 'http_route', 'http_response_status_code')} / {WINDOW}",
)
REQUEST_RATE_BY_ROUTE = Signal(
    f"job_route:{_HTTP}_count:rate5m",
    "How many requests arrive at each route?",
    "reqps",
    REQUESTS_BY_STATUS.sum("job", "http_route"),
)
REQUEST_RATE_BY_CLASS = Signal(
    f"job_class:{_HTTP}_count:rate5m",
    "How many requests are there by class of status?",
    "reqps",
    f'sum by (job, status_class) (label_replace({REQUESTS_BY_STATUS}, "status_class", "${{1}}xx", '
    '"http_response_status_code", "(.).."))',
)
EVENTS_BY_OUTCOME = Signal(
    "job_route_slo_outcome:slo_events:increase5m",
    "How many good and bad events did each route have within five minutes?",
    "short",
    SLO_EVENTS.increase("job", "http_route", "slo", "outcome"),
)
_ROUTE_FAILED = EVENTS_BY_OUTCOME.sum("job", "http_route", slo="availability", outcome="bad")
_ROUTE_TOTAL = EVENTS_BY_OUTCOME.sum("job", "http_route", slo="availability")
ERROR_RATIO_BY_ROUTE = Signal(
    "job_route:http_server_errors:ratio_rate5m",
    "Which routes fail?",
    "percentunit",
    f"{or_zero(_ROUTE_FAILED, _ROUTE_TOTAL)} / ({_ROUTE_TOTAL} > 0)",
)

_NAMED = ERRORS.select(fingerprint=excluding(OTHER))
_ERROR = ("job", "http_route", "fingerprint", "type", "place")
ERRORS_5M = Signal(
    "job_route_issue_type_place:vitals_errors:increase5m",
    "How often did each error happen within five minutes?",
    "short",
    # The first one of an error begins its series, which is no increase.
    f"sum by ({', '.join(_ERROR)}) (increase({_NAMED}[5m]) > 0 "
    f"or {_NAMED} unless {_NAMED} offset 5m)",
)

# -- Latency --------------------------------------------------------------------------------

LATENCY_BUCKETS = Signal(
    f"job_route_le:{_HTTP}_bucket:rate5m",
    "How are durations distributed?",
    "reqps",
    BUCKETS.sum("job", "http_route", "le"),
)
LATENCY_BUCKETS_OF_JOB = Signal(
    f"job_le:{_HTTP}_bucket:rate5m",
    "How are durations of all matched requests distributed?",
    "reqps",
    LATENCY_BUCKETS.sum("job", "le", http_route=MATCHED),
)
_OF_JOB = str(LATENCY_BUCKETS_OF_JOB)
LATENCY_P50 = Signal(
    f"job:{_HTTP}:p50_5m", "What is the median latency?", "s", quantile(0.5, _OF_JOB)
)
LATENCY_P95 = Signal(
    f"job:{_HTTP}:p95_5m", "What is the p95 latency?", "s", quantile(0.95, _OF_JOB)
)
LATENCY_P99 = Signal(
    f"job:{_HTTP}:p99_5m", "What is the p99 latency?", "s", quantile(0.99, _OF_JOB)
)
LATENCY_P50_BY_ROUTE = Signal(
    f"job_route:{_HTTP}:p50_5m",
    "What is the median latency of each route?",
    "s",
    quantile(0.5, str(LATENCY_BUCKETS)),
)
LATENCY_P95_BY_ROUTE = Signal(
    f"job_route:{_HTTP}:p95_5m",
    "What is the p95 latency of each route?",
    "s",
    quantile(0.95, str(LATENCY_BUCKETS)),
)
LATENCY_P99_BY_ROUTE = Signal(
    f"job_route:{_HTTP}:p99_5m",
    "What is the p99 latency of each route?",
    "s",
    quantile(0.99, str(LATENCY_BUCKETS)),
)

# -- Runtime --------------------------------------------------------------------------------

LOOP_LAG_P99 = Signal(
    f"job_instance:{EVENT_LOOP_LAG.name}:p99_5m",
    "How late does each event loop run?",
    "s",
    defined(EVENT_LOOP_LAG.quantile(0.99, "job", "instance")),
)
