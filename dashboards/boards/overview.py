"""Overview board: SLO status, rate, errors, duration, worst routes, alerts, dependencies.

Read from the top: actual against target, then the graphs over time, then which routes and which
alerts, then the dependencies. It draws recorded signals, the same series that alerts evaluate, so
that a graph shows exactly what pages. Those cover the whole service; what differs by instance is
drawn by instance.
"""

from dataclasses import replace

from dashboards.annotations import DEPLOYS, DOWN, FIRING
from dashboards.board import Board, Row
from dashboards.links import OVERVIEW_UID, TO_ERROR_LOGS, TO_FAILED_REQUESTS, TO_SLOW_REQUESTS
from dashboards.panels.panel import Heatmap, TimeSeries
from dashboards.panels.query import Query
from dashboards.sections.alert_table import FIRING_ALERTS
from dashboards.sections.dependencies import (
    CACHE,
    OUTGOING_ACTIVE,
    OUTGOING_ERRORS,
    OUTGOING_LATENCY,
    OUTGOING_RATE,
    POOL,
    QUERIES,
    SLOW_RATIO,
)
from dashboards.sections.slo_panels import (
    AVAILABILITY,
    AVAILABILITY_TARGET,
    BUDGET,
    BURN,
    INSTANCES,
    LATENCY,
    LATENCY_NOW,
    LATENCY_THRESHOLD,
    SLOW_QUERIES,
)
from dashboards.sections.worst_routes import ROUTES
from dashboards.style import BY_STATUS, PERCENTILES, Colour, limit_line, rising, series_colour
from dashboards.variables import CHOSEN_JOB, JOB, SOURCE
from rules.requests import (
    LATENCY_BUCKETS_OF_JOB,
    LATENCY_P50,
    LATENCY_P99,
    LOOP_LAG_P99,
    MATCHED,
    REQUEST_RATE_BY_CLASS,
)
from rules.slo import BAD_RATIO
from vitals.metrics.catalogue import HTTP_ACTIVE_REQUESTS, HTTP_REQUEST_DURATION

# -- Rate, errors, duration ---------------------------------------------------------------------

RATE = TimeSeries(
    id=10,
    title="Requests by status",
    description="Requests per second by class of status. A drop to zero is as bad as a wall of "
    "5xx; many 4xx are usually one client or a scanner.",
    unit="reqps",
    stacked=True,
    queries=(Query(REQUEST_RATE_BY_CLASS.select(job=CHOSEN_JOB), "{{status_class}}"),),
    overrides=BY_STATUS,
)

ERRORS = TimeSeries(
    id=11,
    title="Error ratio",
    links=(TO_FAILED_REQUESTS, TO_ERROR_LOGS),
    description="Share of requests that failed (5xx or an exception), against the share that the "
    "objective allows. Not counted are routes with their own objective, and requests that match no "
    "route, such as those of scanners.",
    unit="percentunit",
    soft_high=0.01,
    queries=(
        Query(BAD_RATIO["5m"].select(job=CHOSEN_JOB, slo="availability", http_route=""), "failed"),
        Query(f"1 - {AVAILABILITY_TARGET}", "allowed"),
    ),
    overrides=(series_colour("failed", Colour.PRIMARY, width=2), limit_line("allowed")),
)

_BUCKETS = HTTP_REQUEST_DURATION.select("_bucket", "5m", job=CHOSEN_JOB, http_route=MATCHED)
DURATIONS = TimeSeries(
    id=12,
    title="Latency",
    links=(TO_SLOW_REQUESTS,),
    description="p50, p95 and p99 of the request duration. p95 is the series of the alert "
    "LatencyP95High: routes with their own objective are excluded. Each dot is a request: click "
    "it to open its trace.",
    unit="s",
    queries=(
        Query(LATENCY_P50.select(job=CHOSEN_JOB), "p50"),
        Query(LATENCY_NOW, "p95"),
        Query(LATENCY_P99.select(job=CHOSEN_JOB), "p99"),
        Query(LATENCY_THRESHOLD, "threshold"),
        # Only raw buckets have exemplars, which Prometheus finds by name and labels. Evaluated at
        # 1970, the query itself reads none of the tens of thousands of bucket series.
        Query(f"rate({_BUCKETS} @ 0)", "requests", exemplar=True),
    ),
    overrides=(
        *PERCENTILES,
        limit_line("threshold"),
    ),
)

HEAT = Heatmap(
    id=22,
    title="Latency distribution",
    description="Requests per second by duration. Two bands are two kinds of requests; a band "
    "that rises as a whole is the service, one that frays upwards is one route or one query.",
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
    tint=Colour.INFO,
    title="In flight",
    description="Requests in progress, by instance. A line that climbs at a constant request rate "
    "is a queue: something behind the service is slow.",
    unit="short",
    width=6,
    queries=(Query(HTTP_ACTIVE_REQUESTS.sum("instance", job=CHOSEN_JOB), "{{instance}}"),),
)

LOOP_LAG = TimeSeries(
    id=24,
    tint=Colour.INFO,
    title="Event loop lag, p99",
    description="How late each instance's event loop runs: every request there waits this long. "
    "Above 100 ms something blocks the loop.",
    unit="s",
    width=6,
    limits=True,
    steps=rising(0.05, 0.1),
    queries=(Query(LOOP_LAG_P99.select(job=CHOSEN_JOB), "{{instance}}"),),
)

BOARD = Board(
    uid=OVERVIEW_UID,
    title="Service overview",
    description="Is the service healthy? If not: since when, where, and why?",
    variables=(SOURCE, JOB),
    annotations=(DEPLOYS, DOWN, replace(FIRING, enabled=False)),
    rows=(
        Row((AVAILABILITY, LATENCY, SLOW_QUERIES, BUDGET, BURN, INSTANCES)),
        Row((RATE, ERRORS, DURATIONS)),
        Row((ROUTES, replace(FIRING_ALERTS, id=21, width=10))),
        Row((HEAT, IN_FLIGHT, LOOP_LAG)),
        Row(
            (
                *(QUERIES, SLOW_RATIO, POOL, CACHE),
                *(OUTGOING_RATE, OUTGOING_ERRORS, OUTGOING_LATENCY, OUTGOING_ACTIVE),
            ),
            title="Dependencies",
            id=30,
        ),
    ),
)
