"""Recording rules of the services that a service calls over HTTP."""

from rules.requests import WINDOW
from rules.signal import Signal, defined, or_zero
from vitals.metrics.catalogue import HTTP_CLIENT_REQUEST_DURATION
from vitals.metrics.declarations import not_matching

NOT_FAILED = "|4..|CancelledError"
"""Error types of requests that the called service did not fail: none, refused as wrong, and given
up by the caller."""

_NAME = HTTP_CLIENT_REQUEST_DURATION.name

OUTGOING_BY_ERROR = Signal(
    f"job_server_error:{_NAME}_count:increase5m",
    "How many requests were sent to each server within five minutes, by their error?",
    "short",
    HTTP_CLIENT_REQUEST_DURATION.increase("job", "server_address", "error_type"),
)
OUTGOING_5M = Signal(
    f"job_server:{_NAME}_count:increase5m",
    "How many requests were sent to each server within five minutes?",
    "short",
    OUTGOING_BY_ERROR.sum("job", "server_address"),
)
OUTGOING = Signal(
    f"job_server:{_NAME}_count:rate5m",
    "How many requests are sent to each server?",
    "reqps",
    f"{OUTGOING_5M} / {WINDOW}",
)
OUTGOING_P95 = Signal(
    f"job_server:{_NAME}:p95_5m",
    "How long do servers take that are called?",
    "s",
    defined(HTTP_CLIENT_REQUEST_DURATION.quantile(0.95, "job", "server_address")),
)
OUTGOING_FAILURES_5M = Signal(
    "job_server:http_client_request_failures:increase5m",
    "How many requests to each server failed within five minutes?",
    "short",
    or_zero(
        OUTGOING_BY_ERROR.sum("job", "server_address", error_type=not_matching(NOT_FAILED)),
        OUTGOING_5M,
    ),
)
OUTGOING_FAILURE_RATIO = Signal(
    "job_server:http_client_request_failures:ratio_increase5m",
    "What share of the requests to each server fails?",
    "percentunit",
    f"{OUTGOING_FAILURES_5M} / ({OUTGOING_5M} > 0)",
)
