"""Panels of a service's dependencies: database, connection pools, caches."""

from dashboards.links import TO_CACHE, TO_DATABASE
from dashboards.panels.panel import TimeSeries
from dashboards.panels.query import Query
from dashboards.sections.slo_panels import SLOW_ALLOWED, SLOW_NOW
from dashboards.style import Colour, limit_line, rising, series_colour
from dashboards.variables import CHOSEN_JOB
from rules.datastores import CACHE_HIT_RATIO, POOL_USE, QUERY_P95
from rules.slo import THRESHOLD

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

CACHE = TimeSeries(
    id=34,
    links=(TO_CACHE,),
    title="Cache hit ratio",
    description="Share of lookups that each cache serves. A sudden drop sends its traffic to the "
    "database: was the cache flushed or restarted, is it reachable?",
    unit="percentunit",
    width=6,
    high=1,
    queries=(Query(CACHE_HIT_RATIO.select(job=CHOSEN_JOB), "{{cache}}"),),
)
