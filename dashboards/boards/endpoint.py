"""One route: how it is asked, how it answers, and what it does to the database.

Its queries are raw, not recorded, so that they may be narrowed down to single instances.
"""

from dashboards.annotations import DEPLOYS, FIRING
from dashboards.board import Board, Row
from dashboards.links import ENDPOINT_UID, TO_DATABASE
from dashboards.panels.panel import Heatmap, TimeSeries
from dashboards.panels.query import Query, now, rows
from dashboards.panels.stat_panels import Stat
from dashboards.panels.table_panels import Table
from dashboards.sections.slo_panels import LATENCY_PROMISED
from dashboards.sections.slo_status import VERDICT, at_most
from dashboards.style import BY_STATUS, Colour, column, painted, promise, rising
from dashboards.variables import (
    CHOSEN_JOB,
    CHOSEN_ROUTE,
    INSTANCE,
    JOB,
    ROUTE,
    SOURCE,
    STEP,
)
from rules.signal import defined
from rules.slo import THRESHOLD_BY_ROUTE
from vitals.metrics.catalogue import (
    DB_N_PLUS_ONE,
    DB_QUERIES_PER_REQUEST,
    HTTP_REQUEST_BODY_SIZE,
    HTTP_REQUEST_DURATION,
    HTTP_RESPONSE_BODY_SIZE,
    SLO_EVENTS,
)
from vitals.metrics.declarations import excluding

_ALL = HTTP_REQUEST_DURATION.rate(**CHOSEN_ROUTE)
_JUDGED = SLO_EVENTS.rate(**CHOSEN_ROUTE, slo="availability")
_FAILED = SLO_EVENTS.rate(**CHOSEN_ROUTE, slo="availability", outcome="bad")
_OWN_PROMISE = THRESHOLD_BY_ROUTE.select(
    job=CHOSEN_JOB, http_route=CHOSEN_ROUTE["http_route"], slo="latency"
)
_PROMISED = f"(max({_OWN_PROMISE}) or max({LATENCY_PROMISED}))"
_TIMED = SLO_EVENTS.rate(**CHOSEN_ROUTE, slo="latency")
_TOO_SLOW = SLO_EVENTS.rate(**CHOSEN_ROUTE, slo="latency", outcome="bad")

P95 = Stat(
    id=1,
    title="p95",
    description="95 of 100 requests of the last five minutes were answered within this time, "
    "against the route's own promise or else the service's.",
    unit="s",
    width=6,
    queries=at_most(defined(HTTP_REQUEST_DURATION.quantile(0.95, **CHOSEN_ROUTE)), _PROMISED),
    overrides=VERDICT,
    empty="no traffic",
)
REQUESTS = Stat(
    id=2,
    title="Requests",
    description="Requests per second over the last five minutes.",
    unit="reqps",
    queries=(now(_ALL),),
    empty="no traffic",
)
ERROR_RATIO = Stat(
    id=3,
    title="Errors",
    description="Share of requests of the last five minutes that failed: 5xx or an exception.",
    unit="percentunit",
    decimals=2,
    steps=rising(0.001, 0.01),
    queries=(now(f"({_FAILED} or {_JUDGED} * 0) / ({_JUDGED} > 0)"),),
    empty="no traffic",
)
TOO_SLOW = Stat(
    id=4,
    title="Too slow",
    description="Share of requests of the last five minutes that took longer than promised. "
    "The usual promise allows 5 %.",
    unit="percentunit",
    decimals=1,
    width=5,
    steps=rising(0.04, 0.05),
    queries=(now(f"({_TOO_SLOW} or {_TIMED} * 0) / ({_TIMED} > 0)"),),
    empty="no traffic",
)
QUERIES_EACH = Stat(
    id=5,
    title="Queries a request, p95",
    description="95 of 100 requests send at most this many queries to the database. Dozens are "
    "usually one query in a loop.",
    unit="short",
    decimals=0,
    width=5,
    steps=rising(20, 50),
    queries=(now(defined(DB_QUERIES_PER_REQUEST.quantile(0.95, **CHOSEN_ROUTE))),),
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
    title="Errors by reason",
    empty="none",
    description="Requests per second that failed or were given up, by the exception's class, the "
    "status or the client that left.",
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
    description="Half, 95 and 99 of 100 requests are answered within these times. Each dot is a "
    "request: click it to open its trace.",
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
        Query(_PROMISED, "promised"),
    ),
    overrides=(
        painted("p50", Colour.CALM),
        painted("p95", Colour.STRONG, width=2),
        painted("p99", Colour.ODD),
        promise(),
    ),
)
HEAT = Heatmap(
    id=20,
    title="Latency distribution",
    description="Requests per second by how long they took. Two bands are two ways through the "
    "code, such as cached and not cached.",
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
ANSWERS = Table(
    id=21,
    title="Answers",
    description="How requests of the last five minutes ended: method, status and reason, and how "
    "long such an answer takes on average.",
    unit="short",
    queries=(
        rows(
            HTTP_REQUEST_DURATION.rate(
                "http_request_method", "http_response_status_code", "error_type", **CHOSEN_ROUTE
            )
        ),
        rows(
            HTTP_REQUEST_DURATION.mean(
                "http_request_method", "http_response_status_code", "error_type", **CHOSEN_ROUTE
            )
        ),
    ),
    columns={
        "http_request_method": "Method",
        "http_response_status_code": "Status",
        "error_type": "Reason",
        "Value #A": "Rate",
        "Value #B": "Mean time",
    },
    sort=(("Rate", True),),
    overrides=(column("Rate", "reqps", width=110), column("Mean time", "s", width=110)),
)
QUERIES = TimeSeries(
    id=31,
    links=(TO_DATABASE,),
    title="Queries a request",
    description="Database queries that half and 95 of 100 requests cause. It grows with the data "
    "where a loop asks row by row.",
    unit="short",
    queries=(
        Query(defined(DB_QUERIES_PER_REQUEST.quantile(0.5, window=STEP, **CHOSEN_ROUTE)), "p50"),
        Query(defined(DB_QUERIES_PER_REQUEST.quantile(0.95, window=STEP, **CHOSEN_ROUTE)), "p95"),
    ),
    overrides=(painted("p50", Colour.CALM), painted("p95", Colour.STRONG, width=2)),
)
N_PLUS_ONE = TimeSeries(
    id=32,
    links=(TO_DATABASE,),
    title="N+1 queries",
    empty="none",
    description="Requests per second in which one statement was sent again and again, by "
    "statement. Load the rows together instead.",
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
    title="Body sizes, p95",
    description="95 of 100 bodies are no larger. Large answers are slow answers: page them.",
    unit="bytes",
    queries=(
        Query(
            defined(HTTP_REQUEST_BODY_SIZE.quantile(0.95, window=STEP, **CHOSEN_ROUTE)), "request"
        ),
        Query(
            defined(HTTP_RESPONSE_BODY_SIZE.quantile(0.95, window=STEP, **CHOSEN_ROUTE)), "response"
        ),
    ),
    overrides=(painted("request", Colour.CALM), painted("response", Colour.STRONG)),
)

BOARD = Board(
    uid=ENDPOINT_UID,
    title="Endpoint",
    description="One route: how it is asked, how it answers, what it does to the database.",
    variables=(SOURCE, JOB, ROUTE, INSTANCE),
    annotations=(DEPLOYS, FIRING),
    rows=(
        Row((P95, REQUESTS, ERROR_RATIO, TOO_SLOW, QUERIES_EACH)),
        Row((RATE, REASONS, DURATIONS)),
        Row((HEAT, ANSWERS)),
        Row((QUERIES, N_PLUS_ONE, SIZES), title="What it does", id=30),
    ),
)
