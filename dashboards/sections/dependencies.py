"""Panels of a service's dependencies: database, connection pools, caches, services it calls."""

from dashboards.links import TO_CACHE, TO_DATABASE
from dashboards.panels.panel import TimeSeries
from dashboards.panels.query import Query
from dashboards.sections.slo_panels import SLOW_ALLOWED, SLOW_NOW
from dashboards.style import Colour, limit_line, rising, series_colour
from dashboards.variables import CHOSEN_JOB, STEP
from rules.datastores import CACHE_HIT_RATIO, POOL_USE, QUERY_P95
from rules.dependencies import OUTGOING, OUTGOING_FAILURE_RATIO, OUTGOING_P95
from rules.slo import THRESHOLD
from vitals.metrics.catalogue import CACHE_REQUESTS, HTTP_CLIENT_ACTIVE_REQUESTS
from vitals.metrics.declarations import not_matching

QUERIES = TimeSeries(
    id=31,
    links=(TO_DATABASE,),
    title="Query time, p95",
    description="95 % of database queries finish within this time. A query slower than the "
    "threshold (the dashed line) counts as slow; the database board shows which statement it is.",
    unit="s",
    width=6,
    queries=(
        Query(QUERY_P95.select(job=CHOSEN_JOB), "p95"),
        Query(THRESHOLD.select(job=CHOSEN_JOB, slo="queries", http_route=""), "threshold"),
    ),
    overrides=(series_colour("p95", Colour.PRIMARY, width=2), limit_line("threshold")),
)

SLOW_RATIO = TimeSeries(
    id=32,
    links=(TO_DATABASE,),
    title="Slow query ratio",
    description="Share of database queries slower than the threshold of their objective, against "
    "the share that it allows.",
    unit="percentunit",
    width=6,
    queries=(Query(SLOW_NOW, "slow"), Query(SLOW_ALLOWED, "allowed")),
    overrides=(series_colour("slow", Colour.PRIMARY, width=2), limit_line("allowed")),
)

POOL = TimeSeries(
    id=33,
    links=(TO_DATABASE,),
    tint=Colour.INFO,
    title="Connection pool use",
    description="Share of each pool's connections in use. At 100 % requests wait for a connection "
    "and then fail: look for slow queries or long transactions before making the pool larger.",
    unit="percentunit",
    width=6,
    high=1,
    limits=True,
    steps=rising(0.7, 0.9),
    queries=(
        Query(POOL_USE.select(job=CHOSEN_JOB), "{{instance}} {{db_client_connection_pool_name}}"),
    ),
)

_ANSWERED = CACHE_REQUESTS.rate(
    "cache", window=STEP, job=CHOSEN_JOB, result=not_matching("error|bypass")
)
HIT_RATIO_WHILE_ANSWERED = (
    f"{CACHE_HIT_RATIO.select(job=CHOSEN_JOB)} and on (cache) ({_ANSWERED} > 0)"
)
"""The hit ratio of five minutes, only of caches that found or missed something just now."""
CACHE = TimeSeries(
    id=34,
    links=(TO_CACHE,),
    title="Cache hit ratio",
    description="Share of lookups that each cache serves. A sudden drop sends its traffic to the "
    "database: was the cache flushed or restarted? It ends without lookups or Redis.",
    unit="percentunit",
    width=6,
    high=1,
    queries=(Query(HIT_RATIO_WHILE_ANSWERED, "{{cache}}"),),
    empty="nothing looked up",
)

OUTGOING_RATE = TimeSeries(
    id=35,
    title="Outgoing requests",
    description="Requests per second that the service sends to other services over HTTP, by "
    "server. Redirects and attempts that the service repeats count one by one.",
    unit="reqps",
    width=6,
    stacked=True,
    queries=(Query(OUTGOING.select(job=CHOSEN_JOB), "{{server_address}}"),),
    empty="none recorded",
)

OUTGOING_ERRORS = TimeSeries(
    id=36,
    title="Outgoing error ratio",
    description="Share of the requests to each server that failed: no response, a broken one, a "
    "timeout, or 5xx. Requests refused with 4xx are not counted, nor those that were cancelled.",
    unit="percentunit",
    width=6,
    soft_high=0.01,
    queries=(Query(OUTGOING_FAILURE_RATIO.select(job=CHOSEN_JOB), "{{server_address}}"),),
    empty="none recorded",
)

OUTGOING_LATENCY = TimeSeries(
    id=37,
    title="Outgoing latency, p95",
    description="95 % of requests to each server are complete within this time; of an event "
    "stream, until its first byte.",
    unit="s",
    width=6,
    queries=(Query(OUTGOING_P95.select(job=CHOSEN_JOB), "{{server_address}}"),),
    empty="none recorded",
)

OUTGOING_ACTIVE = TimeSeries(
    id=38,
    tint=Colour.INFO,
    title="Outgoing in flight",
    description="Outgoing requests in progress, by server; open streams are among them. A line "
    "that climbs is a server that no longer answers.",
    unit="short",
    width=6,
    queries=(
        Query(
            HTTP_CLIENT_ACTIVE_REQUESTS.sum("server_address", job=CHOSEN_JOB), "{{server_address}}"
        ),
    ),
    empty="none recorded",
)
