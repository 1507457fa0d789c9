"""The service overview: is it well, and if not, since when, where, and what is behind it?

Read from the top: verdicts on what was promised, then the shape of the trouble over time, then
which routes and which alerts, then what the service depends on. It draws recorded signals, the
same series that alerts judge, so that a graph shows exactly what pages. Those speak of the whole
service; what differs by instance is drawn by instance.
"""

from dataclasses import replace

from dashboards.annotations import DEPLOYS, FIRING
from dashboards.board import Board, Row
from dashboards.panels.panel import Heatmap, TimeSeries
from dashboards.panels.query import Query
from dashboards.sections.alert_table import FIRING_ALERTS
from dashboards.sections.dependencies import CACHE, POOL, QUERIES, SLOW_RATIO
from dashboards.sections.slo_panels import (
    AVAILABILITY,
    AVAILABILITY_PROMISED,
    BUDGET,
    BURN,
    INSTANCES,
    LATENCY,
    LATENCY_NOW,
    LATENCY_PROMISED,
    SLOW_QUERIES,
)
from dashboards.sections.worst_routes import ROUTES
from dashboards.style import BY_STATUS, Colour, painted, promise, rising
from dashboards.variables import CHOSEN_JOB, JOB, SOURCE
from rules.requests import (
    ERROR_RATIO,
    LATENCY_BUCKETS_OF_JOB,
    LATENCY_P50,
    LATENCY_P99,
    LOOP_LAG_P99,
    MATCHED,
    REQUEST_RATE_BY_CLASS,
)
from vitals.metrics.catalogue import HTTP_ACTIVE_REQUESTS, HTTP_REQUEST_DURATION

# -- The shape of the trouble -------------------------------------------------------------------

RATE = TimeSeries(
    id=10,
    title="Requests by status",
    description="Requests per second by class of status. A fall to nothing is as bad as a wall of "
    "5xx; many 4xx are usually one client or a scanner.",
    unit="reqps",
    stacked=True,
    queries=(Query(REQUEST_RATE_BY_CLASS.select(job=CHOSEN_JOB), "{{status_class}}"),),
    overrides=BY_STATUS,
)

ERRORS = TimeSeries(
    id=11,
    title="Error ratio",
    description="Share of requests that failed (5xx or an exception), against the share that may. "
    "Unknown addresses that scanners ask for are not counted.",
    unit="percentunit",
    soft_high=0.01,
    queries=(
        Query(ERROR_RATIO.select(job=CHOSEN_JOB), "failed"),
        Query(f"1 - {AVAILABILITY_PROMISED}", "promised"),
    ),
    overrides=(painted("failed", Colour.STRONG, width=2), promise()),
)

_BUCKETS = HTTP_REQUEST_DURATION.select("_bucket", "5m", job=CHOSEN_JOB, http_route=MATCHED)
DURATIONS = TimeSeries(
    id=12,
    title="Latency",
    description="Half, 95 and 99 of 100 requests are answered within these times. p95 is the "
    "series that LatencyP95High judges: routes with a promise of their own are not in it. Each dot "
    "is a request: click it to open its trace.",
    unit="s",
    queries=(
        Query(LATENCY_P50.select(job=CHOSEN_JOB), "p50"),
        Query(LATENCY_NOW, "p95"),
        Query(LATENCY_P99.select(job=CHOSEN_JOB), "p99"),
        Query(LATENCY_PROMISED, "promised"),
        # Exemplars are kept with raw buckets only, and found by name and labels. Asked for the
        # year 1970, the tens of thousands of bucket series themselves cost nothing.
        Query(f"rate({_BUCKETS} @ 0)", "requests", exemplar=True),
    ),
    overrides=(
        painted("p50", Colour.CALM),
        painted("p95", Colour.STRONG, width=2),
        painted("p99", Colour.ODD),
        promise(),
    ),
)

HEAT = Heatmap(
    id=22,
    title="Latency distribution",
    description="Requests per second by how long they took. Two bands are two kinds of requests; "
    "a band that rises as a whole is the service, one that frays upwards is one route or one "
    "query.",
    unit="s",
    width=12,
    queries=(
        Query(
            LATENCY_BUCKETS_OF_JOB.select(job=CHOSEN_JOB),
            "{{le}}",
            form="heatmap",
        ),
    ),
)

IN_FLIGHT = TimeSeries(
    id=23,
    tint=Colour.CALM,
    title="In flight",
    description="Requests being answered right now, by instance. A line that climbs while the rate "
    "stays is a queue: something behind the service is slow.",
    unit="short",
    width=6,
    queries=(Query(HTTP_ACTIVE_REQUESTS.sum("instance", job=CHOSEN_JOB), "{{instance}}"),),
)

LOOP_LAG = TimeSeries(
    id=24,
    tint=Colour.CALM,
    title="Event loop lag, p99",
    description="How late each instance's event loop runs: every request there waits this long for "
    "nothing. Above 100 ms something blocks the loop.",
    unit="s",
    width=6,
    limits=True,
    steps=rising(0.05, 0.1),
    queries=(Query(LOOP_LAG_P99.select(job=CHOSEN_JOB), "{{instance}}"),),
)

BOARD = Board(
    uid="svc-overview",
    title="Service overview",
    description="Is the service well? If not: since when, where, and what is behind it?",
    variables=(SOURCE, JOB),
    annotations=(DEPLOYS, replace(FIRING, enabled=False)),
    rows=(
        Row((AVAILABILITY, LATENCY, SLOW_QUERIES, BUDGET, BURN, INSTANCES)),
        Row((RATE, ERRORS, DURATIONS)),
        Row((ROUTES, replace(FIRING_ALERTS, id=21, width=10))),
        Row((HEAT, IN_FLIGHT, LOOP_LAG)),
        Row((QUERIES, SLOW_RATIO, POOL, CACHE), title="What it depends on", id=30),
    ),
)
