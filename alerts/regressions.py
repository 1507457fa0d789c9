"""Alerts on regressions: what takes longer, fails or queries more than at this hour of other days.

Each compares five minutes with what is usual (``rules.baselines``), needs a factor, an absolute
difference and a number of events, and lasts longer than its window: one slow call stays within it
for five minutes, and is no regression. While a release warms up, nothing is compared.
"""

from alerts.alert import Alert, Severity, current_value
from alerts.enrichment import FOR_QUERIES, FOR_ROUTE_ERRORS, FOR_ROUTE_LATENCY, FOR_STATEMENT
from alerts.investigation import OF_QUERIES, OF_ROUTE_CHANGE, OF_ROUTE_ERRORS, OF_STATEMENT
from alerts.routes import MOST_FAIL, MOST_SLOW, WHERE, fails_more
from rules.baselines import (
    BEFORE,
    DAYS_BEFORE,
    JUST_STARTED,
    QUERIES_EACH,
    QUERIES_EACH_5M,
    QUERYING_REQUESTS,
    ROUTE_FAILURES,
    ROUTE_MEAN,
    ROUTE_P95,
    STATEMENT_CALLS,
    STATEMENT_MEAN,
    STATEMENT_MEAN_5M,
    last_week,
    usual,
)
from rules.routes import (
    FAILURES_10M,
    FAILURES_ALLOWED,
    MEAN,
    MOST_FAILURES,
    P95,
    REQUESTS_5M,
    REQUESTS_10M,
)
from rules.signal import Signal

ROUTE_FACTOR, ROUTE_SECONDS = 2, 0.05
"""A route's mean or p95: twice as long, and 50 ms longer, which a person notices."""
MIN_REQUESTS, MIN_REQUESTS_OF_P95 = 10, 100
"""Requests within five minutes; fewer than 100 have no p95."""
STATEMENT_FACTOR, STATEMENT_SECONDS = 3, 0.005
"""A statement's mean: a lookup by index takes less than a millisecond, a scan tens of them."""
MIN_CALLS = 20
"""Calls within five minutes."""
QUERIES_FACTOR, MORE_QUERIES = 2, 4
"""Queries of a request: twice as many, and four more."""
FAILURES_FACTOR = 3

_ROUTE = ("job", "http_request_method", "http_route")
_STATEMENT = ("job", "db_query_fingerprint")


def regressed(now: str, of: dict[str, Signal], factor: float, more: float, *by: str) -> str:
    """Write the condition: a value is that many times what is usual, and by that much more.

    Also more than half of the way above the same time a week ago, where there is one: what is slow
    each Sunday is slow as usual.
    """
    on = f"on ({', '.join(by)})"
    before = usual(of)
    return (
        f"({now} and {on} {now} > {on} {factor} * {before} and {on} {now} - {on} {before} > {more} "
        f"unless {on} {now} < {on} {(1 + factor) / 2:g} * {last_week(of)}) "
        f"unless on (job) {JUST_STARTED}"
    )


def usual_value(of: dict[str, Signal], *by: str, show: str) -> str:
    """Write what is usual in a message, and of when it is: of neither, nothing."""
    days = current_value(of[DAYS_BEFORE], *by, show=show, text=" Usual at this time of day: {}.")
    hour = current_value(of[BEFORE], *by, show=show, text=" In the hour before: {}.")
    return f"{days}{hour}"


_SLOWER = " or ".join(
    f"({regressed(str(now), of, ROUTE_FACTOR, ROUTE_SECONDS, *_ROUTE)} "
    f"and {REQUESTS_5M} >= {requests})"
    for now, of, requests in (
        (MEAN, ROUTE_MEAN, MIN_REQUESTS),
        (P95, ROUTE_P95, MIN_REQUESTS_OF_P95),
    )
)

ROUTE_SLOWER = Alert(
    name="RouteSlow",
    expr=f"({_SLOWER}) unless ({MOST_SLOW})",
    fires_when="the mean or p95 of a route is twice that of the same hour of the days before, "
    "and 50 ms more",
    not_when="fewer than 10 requests in 5m (100 for the p95), as slow a week ago, or a release 3m "
    "ago",
    severity=Severity.TICKET,
    for_="8m",
    summary=f"{WHERE} is slower than usual: {{{{ $value | humanizeDuration }}}}",
    description=f"Mean: {current_value(MEAN, *_ROUTE, show='humanizeDuration')}, p95: "
    f"{current_value(P95, *_ROUTE, show='humanizeDuration')}."
    f"{usual_value(ROUTE_MEAN, *_ROUTE, show='humanizeDuration')}",
    board="svc-endpoint",
    labels={"compared": "history"},
    enrichments=FOR_ROUTE_LATENCY,
    investigation=OF_ROUTE_CHANGE,
)

_MOST_USUAL = f"clamp_min({FAILURES_FACTOR} * {usual(ROUTE_FAILURES)}, {MOST_FAILURES})"

ROUTE_FAILS_MORE = Alert(
    name="RouteErrors",
    expr=f"{FAILURES_10M} / {REQUESTS_10M} and ({fails_more(f'clamp_max({_MOST_USUAL}, 0.99)')}) "
    f"unless ({fails_more(str(FAILURES_ALLOWED))}) unless ({MOST_FAIL}) "
    f"unless on (job) {JUST_STARTED}",
    fires_when="a route fails three times as many as in the same hour of the days before, and 1%",
    not_when="fewer than 5 failures in 10m, or what may be chance, or a release 3m ago",
    severity=Severity.TICKET,
    for_="1m",
    summary=f"{WHERE} fails more requests than usual: {{{{ $value | humanizePercentage }}}}",
    description=f"{current_value(FAILURES_10M, *_ROUTE)} of "
    f"{current_value(REQUESTS_10M, *_ROUTE)} requests failed within ten minutes."
    f"{usual_value(ROUTE_FAILURES, *_ROUTE, show='humanizePercentage')}",
    board="svc-endpoint",
    labels={"compared": "history"},
    enrichments=FOR_ROUTE_ERRORS,
    investigation=OF_ROUTE_ERRORS,
)

STATEMENT_SLOWER = Alert(
    name="StatementSlower",
    expr=regressed(
        str(STATEMENT_MEAN_5M), STATEMENT_MEAN, STATEMENT_FACTOR, STATEMENT_SECONDS, *_STATEMENT
    )
    + f" and {STATEMENT_CALLS} >= {MIN_CALLS}",
    fires_when="a statement takes three times as long as in the same hour of the days before, "
    "and 5 ms more",
    not_when="fewer than 20 calls in 5m, as slow a week ago, or a release 3m ago",
    severity=Severity.TICKET,
    for_="8m",
    summary="A statement of {{ $labels.job }} is slower than usual: "
    "{{ $value | humanizeDuration }} ({{ $labels.db_query_fingerprint }})",
    description=f"Calls within five minutes: {current_value(STATEMENT_CALLS, *_STATEMENT)}."
    f"{usual_value(STATEMENT_MEAN, *_STATEMENT, show='humanizeDuration')}",
    board="svc-db",
    enrichments=FOR_STATEMENT,
    investigation=OF_STATEMENT,
)

QUERIES_MULTIPLIED = Alert(
    name="QueriesMultiplied",
    expr=regressed(
        str(QUERIES_EACH_5M), QUERIES_EACH, QUERIES_FACTOR, MORE_QUERIES, "job", "http_route"
    )
    + f" and {QUERYING_REQUESTS} >= {MIN_REQUESTS}",
    fires_when="a route sends twice as many queries a request as in the same hour of the days "
    "before, and 4 more",
    not_when="fewer than 10 requests in 5m, as many a week ago, or a release 3m ago",
    severity=Severity.TICKET,
    for_="8m",
    summary="{{ $labels.http_route }} of {{ $labels.job }} sends {{ $value | humanize }} queries "
    "a request, more than usual",
    description="Requests within five minutes: "
    f"{current_value(QUERYING_REQUESTS, 'job', 'http_route')}."
    f"{usual_value(QUERIES_EACH, 'job', 'http_route', show='humanize')}",
    board="svc-db",
    enrichments=FOR_QUERIES,
    investigation=OF_QUERIES,
)
