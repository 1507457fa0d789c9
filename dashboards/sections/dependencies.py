"""What a service depends on: its database, its connections, its caches."""

from dashboards.links import TO_CACHE, TO_DATABASE
from dashboards.panels.panel import TimeSeries
from dashboards.panels.query import Query
from dashboards.sections.slo_panels import SLOW_ALLOWED, SLOW_NOW
from dashboards.style import Colour, painted, promise, rising
from dashboards.variables import CHOSEN_JOB
from rules.datastores import CACHE_HIT_RATIO, POOL_USE, QUERY_P95
from rules.slo import THRESHOLD

QUERIES = TimeSeries(
    id=31,
    links=(TO_DATABASE,),
    title="Query time, p95",
    description="95 of 100 database queries are answered within this time; beyond the promised "
    "time a query counts as slow. The database board says which statement.",
    unit="s",
    width=6,
    queries=(
        Query(QUERY_P95.select(job=CHOSEN_JOB), "p95"),
        Query(THRESHOLD.select(job=CHOSEN_JOB, slo="queries"), "promised"),
    ),
    overrides=(painted("p95", Colour.STRONG, width=2), promise()),
)

SLOW_RATIO = TimeSeries(
    id=32,
    links=(TO_DATABASE,),
    title="Slow queries",
    description="Share of queries slower than promised, against the share that may be.",
    unit="percentunit",
    width=6,
    queries=(Query(SLOW_NOW, "slow"), Query(SLOW_ALLOWED, "promised")),
    overrides=(painted("slow", Colour.STRONG, width=2), promise()),
)

POOL = TimeSeries(
    id=33,
    links=(TO_DATABASE,),
    tint=Colour.CALM,
    title="Connection pool use",
    description="Share of each pool's connections that are taken. At 100 % requests wait for a "
    "connection and then fail: look for slow queries or sessions held too long before making the "
    "pool larger.",
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
    description="Share of look-ups that each cache answers. A sudden fall sends its traffic to the "
    "database: was the cache emptied, was it restarted, is it reachable?",
    unit="percentunit",
    width=6,
    high=1,
    queries=(Query(CACHE_HIT_RATIO.select(job=CHOSEN_JOB), "{{cache}}"),),
)
