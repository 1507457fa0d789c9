"""Endpoint board: rate, errors, duration and database use of one route.

Its queries read raw series, not recorded ones, so that they can select single instances.
"""

from dashboards.annotations import DEPLOYS, DOWN, FIRING
from dashboards.board import Board, Row
from dashboards.links import (
    ENDPOINT_UID,
    TO_DATABASE,
    TO_ERRORS_OF_SERIES,
    TO_STATEMENT_OF_SERIES,
    TO_TRACES_OF_ERROR,
)
from dashboards.panels.panel import Heatmap, TimeSeries
from dashboards.panels.query import Query, instant_query, table_query
from dashboards.panels.stat_panels import Stat
from dashboards.panels.table_panels import Table
from dashboards.sections.slo_status import SLO_STATUS, at_most, judged
from dashboards.style import (
    BY_STATUS,
    PERCENTILES,
    Colour,
    column,
    limit_line,
    rising,
    series_colour,
)
from dashboards.variables import (
    API,
    CHOSEN_JOB,
    CHOSEN_ROUTE,
    INSTANCE,
    JOB,
    ROUTE,
    SOURCE,
    STEP,
)
from rules.signal import Signal, defined
from rules.slo import TARGET, THRESHOLD
from vitals.metrics.catalogue import (
    DB_N_PLUS_ONE,
    DB_QUERIES_PER_REQUEST,
    ERRORS,
    EVENT_LOOP_SITES,
    HTTP_CLIENT_REQUESTS_PER_REQUEST,
    HTTP_REQUEST_BODY_SIZE,
    HTTP_REQUEST_DURATION,
    HTTP_REQUEST_TIME,
    HTTP_RESPONSE_BODY_SIZE,
    SLO_EVENTS,
)
from vitals.metrics.declarations import excluding
from vitals.objectives import Slo

_ALL = HTTP_REQUEST_DURATION.rate(**CHOSEN_ROUTE)
_TOTAL = SLO_EVENTS.rate(**CHOSEN_ROUTE, slo="availability")
_FAILED = SLO_EVENTS.rate(**CHOSEN_ROUTE, slo="availability", outcome="bad")


def _own_or_services(signal: Signal, slo: Slo) -> str:
    """The value of the route's own objective, or else of the service's."""
    own, services = (
        signal.select(job=CHOSEN_JOB, http_route=route, slo=slo)
        for route in (CHOSEN_ROUTE["http_route"], "")
    )
    return f"(max({own}) or max({services}))"


_THRESHOLD = _own_or_services(THRESHOLD, Slo.LATENCY)
_SLOW_ALLOWED, _FAILED_ALLOWED = (
    f"(1 - {_own_or_services(TARGET, slo)})" for slo in (Slo.LATENCY, Slo.AVAILABILITY)
)
_TIMED = SLO_EVENTS.rate(**CHOSEN_ROUTE, slo="latency")
_TOO_SLOW = SLO_EVENTS.rate(**CHOSEN_ROUTE, slo="latency", outcome="bad")
_SLOW_SHARE = f"(({_TOO_SLOW} or {_TIMED} * 0) / ({_TIMED} > 0))"
_FAILED_SHARE = f"(({_FAILED} or {_TOTAL} * 0) / ({_TOTAL} > 0))"

P95 = Stat(
    id=1,
    title="p95",
    description="95 % of requests of the last five minutes finished within this time, against the "
    "threshold of the route's objective or else of the service's. It is red when more requests "
    "exceed the threshold than that objective allows.",
    unit="s",
    width=6,
    queries=judged(
        defined(HTTP_REQUEST_DURATION.quantile(0.95, **CHOSEN_ROUTE)),
        "threshold",
        _THRESHOLD,
        f"{_SLOW_SHARE} > {_SLOW_ALLOWED}",
    ),
    overrides=SLO_STATUS,
    empty="no traffic",
)
REQUESTS = Stat(
    id=2,
    title="Requests",
    description="Requests per second over the last five minutes.",
    unit="reqps",
    queries=(instant_query(_ALL),),
    empty="no traffic",
)
ERROR_RATIO = Stat(
    id=3,
    title="Error ratio",
    description="Share of requests of the last five minutes that failed (5xx or an exception), "
    "against the share that the objective allows.",
    unit="percentunit",
    decimals=2,
    queries=at_most(_FAILED_SHARE, "allowed", _FAILED_ALLOWED),
    overrides=SLO_STATUS,
    empty="no traffic",
)
TOO_SLOW = Stat(
    id=4,
    title="Slow requests",
    description="Share of requests of the last five minutes that took longer than the "
    "threshold of the latency objective, against the share that it allows.",
    unit="percentunit",
    decimals=1,
    width=5,
    queries=at_most(_SLOW_SHARE, "allowed", _SLOW_ALLOWED),
    overrides=SLO_STATUS,
    empty="no traffic",
)
QUERIES_EACH = Stat(
    id=5,
    title="Queries per request, p95",
    description="95 % of requests send at most this many queries to the database. Dozens are "
    "usually one query in a loop.",
    unit="short",
    decimals=0,
    width=5,
    steps=rising(20, 50),
    queries=(instant_query(defined(DB_QUERIES_PER_REQUEST.quantile(0.95, **CHOSEN_ROUTE))),),
    empty="no queries",
)

RATE = TimeSeries(
    id=10,
    title="Requests by status",
    description="Requests per second by status code.",
    unit="reqps",
    stacked=True,
    queries=(
        Query(
            HTTP_REQUEST_DURATION.rate("http_response_status_code", window=STEP, **CHOSEN_ROUTE),
            "{{http_response_status_code}}",
        ),
    ),
    overrides=BY_STATUS,
)
REASONS = TimeSeries(
    id=11,
    title="Errors by type",
    links=(TO_ERRORS_OF_SERIES,),
    empty="none recorded",
    description="Requests per second that failed or were aborted, by exception class, status or "
    "client disconnect.",
    unit="reqps",
    queries=(
        Query(
            HTTP_REQUEST_DURATION.rate(
                "error_type", window=STEP, **CHOSEN_ROUTE, error_type=excluding("")
            ),
            "{{error_type}}",
        ),
    ),
)
DURATIONS = TimeSeries(
    id=12,
    title="Latency",
    description="p50, p95 and p99 of the request duration. Each dot is a request: click it to "
    "open its trace.",
    unit="s",
    queries=(
        *(
            Query(
                HTTP_REQUEST_DURATION.quantile(part, window=STEP, **CHOSEN_ROUTE),
                f"p{part * 100:g}",
                exemplar=part == 0.99,  # noqa: PLR2004 - one line of dots is enough
            )
            for part in (0.5, 0.95, 0.99)
        ),
        Query(_THRESHOLD, "threshold"),
    ),
    overrides=(*PERCENTILES, limit_line("threshold")),
)
HEAT = Heatmap(
    id=20,
    title="Latency distribution",
    description="Requests per second by duration. Two bands are two code paths, such as cached "
    "and not cached.",
    unit="s",
    width=12,
    queries=(
        Query(
            HTTP_REQUEST_DURATION.buckets_rate(window=STEP, **CHOSEN_ROUTE),
            "{{le}}",
            form="heatmap",
        ),
    ),
)
RESPONSES = Table(
    id=21,
    title="Responses",
    description="Requests of the last five minutes by method, status and error type, and their "
    "mean duration.",
    unit="short",
    queries=(
        table_query(
            HTTP_REQUEST_DURATION.rate(
                "http_request_method", "http_response_status_code", "error_type", **CHOSEN_ROUTE
            )
        ),
        table_query(
            HTTP_REQUEST_DURATION.mean(
                "http_request_method", "http_response_status_code", "error_type", **CHOSEN_ROUTE
            )
        ),
    ),
    columns={
        "http_request_method": "Method",
        "http_response_status_code": "Status",
        "error_type": "Error type",
        "Value #A": "Rate",
        "Value #B": "Mean",
    },
    sort=(("Rate", True),),
    overrides=(column("Rate", "reqps", width=110), column("Mean", "s", width=110)),
)
QUERIES = TimeSeries(
    id=31,
    width=6,
    links=(TO_DATABASE,),
    title="Queries per request",
    description="Database queries per request, p50 and p95. They grow with the data where a loop "
    "queries row by row.",
    unit="short",
    queries=(
        Query(defined(DB_QUERIES_PER_REQUEST.quantile(0.5, window=STEP, **CHOSEN_ROUTE)), "p50"),
        Query(defined(DB_QUERIES_PER_REQUEST.quantile(0.95, window=STEP, **CHOSEN_ROUTE)), "p95"),
    ),
    overrides=PERCENTILES[:2],
)
N_PLUS_ONE = TimeSeries(
    id=32,
    width=6,
    links=(TO_STATEMENT_OF_SERIES, TO_DATABASE),
    title="N+1 queries",
    empty="none recorded",
    description="Requests per second that repeated one statement once per row, by statement. Load "
    "the rows together instead.",
    unit="reqps",
    queries=(
        Query(
            DB_N_PLUS_ONE.rate("db_query_fingerprint", window=STEP, **CHOSEN_ROUTE),
            "{{db_query_fingerprint}}",
        ),
    ),
)
SIZES = TimeSeries(
    id=33,
    width=6,
    title="Body sizes, p95",
    description="95 % of bodies are no larger. Large responses are slow responses: paginate them.",
    unit="bytes",
    queries=(
        Query(
            defined(HTTP_REQUEST_BODY_SIZE.quantile(0.95, window=STEP, **CHOSEN_ROUTE)), "request"
        ),
        Query(
            defined(HTTP_RESPONSE_BODY_SIZE.quantile(0.95, window=STEP, **CHOSEN_ROUTE)), "response"
        ),
    ),
    overrides=(series_colour("request", Colour.INFO), series_colour("response", Colour.PRIMARY)),
)

OUTGOING = TimeSeries(
    id=34,
    title="Outgoing requests per request",
    description="HTTP requests to other services per request, p50 and p95, of the requests that "
    "sent any. They grow with the data where a loop calls row by row.",
    unit="short",
    width=6,
    queries=(
        Query(
            defined(HTTP_CLIENT_REQUESTS_PER_REQUEST.quantile(0.5, window=STEP, **CHOSEN_ROUTE)),
            "p50",
        ),
        Query(
            defined(HTTP_CLIENT_REQUESTS_PER_REQUEST.quantile(0.95, window=STEP, **CHOSEN_ROUTE)),
            "p95",
        ),
    ),
    overrides=PERCENTILES[:2],
    empty="none recorded",
)

BLOCKING = Table(
    id=22,
    title="Lines that block the event loop",
    empty="none within the hour",
    description="Time for which the event loop did not turn within the last hour because of this "
    "route, by the line of the application that blocked it. All requests of the process waited.",
    unit="s",
    width=12,
    height=5,
    queries=(
        table_query(
            f"topk(10, {EVENT_LOOP_SITES.increase('site', window='1h', **CHOSEN_ROUTE)} > 0)"
        ),
    ),
    columns={"site": "Line", "Value": "Blocked"},
    sort=(("Blocked", True),),
    overrides=(column("Blocked", "s", width=110),),
)

PARTS = TimeSeries(
    id=24,
    title="Where the time goes",
    description="Mean time of a request by what it is spent in. Time that an operation takes, such "
    "as a query, is that operation's and not the endpoint's; queue is the time between the proxy "
    "and the application.",
    unit="s",
    width=24,
    height=7,
    stacked=True,
    queries=(
        Query(
            f"{HTTP_REQUEST_TIME.rate('part', window=STEP, **CHOSEN_ROUTE)} / on () group_left () "
            f"({HTTP_REQUEST_DURATION.rate(window=STEP, **CHOSEN_ROUTE)} > 0)",
            "{{part}}",
        ),
    ),
    empty="no traffic",
)

EXCEPTIONS = Table(
    id=23,
    title="Exceptions",
    empty="none within the hour",
    description="Exceptions within the last hour that failed requests of this route or their "
    "background tasks, or were logged as errors, by the innermost function of the application. "
    "Click a fingerprint for traces, and from there for the issue with its stack and history.",
    unit="short",
    width=12,
    height=5,
    queries=(
        table_query(
            "topk(10, "
            + ERRORS.increase("fingerprint", "type", "place", window="1h", **CHOSEN_ROUTE)
            + " > 0)"
        ),
    ),
    columns={
        "type": "Exception",
        "place": "Where",
        "fingerprint": "Fingerprint",
        "Value": "Count",
    },
    sort=(("Count", True),),
    overrides=(
        column("Count", "short", width=80),
        column("Fingerprint", "string", width=150, link=TO_TRACES_OF_ERROR),
    ),
)

BOARD = Board(
    uid=ENDPOINT_UID,
    title="Endpoint",
    description="One route: its rate, errors, duration and database queries.",
    variables=(SOURCE, JOB, ROUTE, INSTANCE, API),
    annotations=(DEPLOYS, DOWN, FIRING),
    rows=(
        Row((P95, REQUESTS, ERROR_RATIO, TOO_SLOW, QUERIES_EACH)),
        Row((RATE, REASONS, DURATIONS)),
        Row((HEAT, RESPONSES)),
        Row((PARTS,)),
        Row((BLOCKING, EXCEPTIONS)),
        Row((QUERIES, N_PLUS_ONE, OUTGOING, SIZES), title="Database, calls and payload", id=30),
    ),
)
