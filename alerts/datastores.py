"""Alerts on the database and the caches."""

from alerts.alert import Alert, Severity, current
from alerts.enrichment import OF_CACHES, OF_QUERIES
from rules.datastores import (
    CACHE_HIT_RATIO,
    CACHE_LOOKUPS_5M,
    N_PLUS_ONE_5M,
    POOL_USE,
    QUERIES_10M,
    SLOW_QUERIES_10M,
    SLOW_QUERY_RATIO,
)
from rules.slo import REQUESTS_5M_BY_ROUTE, TARGET, THRESHOLD
from vitals.metrics.catalogue import CACHE_BREAKER_OPEN, CACHE_BUS_CONNECTED, DB_CONNECTION_TIMEOUTS

ENOUGH_SLOW = 20
"""Slow queries within ten minutes; fewer are a chance event or a report."""
ENOUGH_LOOKUPS = 200
COLLAPSE = 0.5
"""The share of its usual hit ratio below which a cache has collapsed."""
WORTHLESS = 0.05
"""A cache that answers less than one look-up in twenty costs more than it saves."""
FULL = 0.9
ENOUGH_REPEATS = 20
"""Requests with N+1 within five minutes; fewer are a rare page or somebody's curiosity."""
COMMON = 0.1
"""The share of a route's requests from which N+1 is how it works, not what one caller asked for."""
POOL = "db_client_connection_pool_name"

SLOW_QUERY_RATIO_HIGH = Alert(
    name="SlowQueryRatioHigh",
    expr=f"{SLOW_QUERY_RATIO} > on (job) (1 - {TARGET.select(slo='queries')}) "
    f"and on (job) {SLOW_QUERIES_10M} >= {ENOUGH_SLOW}",
    severity=Severity.TICKET,
    lasting="10m",
    summary="{{ $value | humanizePercentage }} of the queries of {{ $labels.job }} are slow",
    description=f"Slow within ten minutes: {current(SLOW_QUERIES_10M, 'job')} of "
    f"{current(QUERIES_10M, 'job')}. Promised: "
    f"{current(TARGET, 'job', slo='queries', show='humanizePercentage')} within "
    f"{current(THRESHOLD, 'job', slo='queries', show='humanizeDuration')}.",
    board="svc-db",
    clues=OF_QUERIES,
)

N_PLUS_ONE = Alert(
    name="NPlusOne",
    # The kit sees it in each request, so yesterday's number of queries need not be known.
    expr=f"{N_PLUS_ONE_5M} / on (job, http_route) group_left () {REQUESTS_5M_BY_ROUTE} > {COMMON} "
    f"and {N_PLUS_ONE_5M} >= {ENOUGH_REPEATS}",
    severity=Severity.TICKET,
    lasting="10m",
    summary="{{ $labels.http_route }} of {{ $labels.job }} asks the database once a row (N+1)",
    description="{{ $value | humanizePercentage }} of its requests within five minutes sent one "
    "statement again and again: {{ $labels.db_query_fingerprint }}.",
    board="svc-db",
    clues=OF_QUERIES,
)

DB_POOL_TIMEOUTS = Alert(
    name="DBPoolTimeouts",
    expr=f"{DB_CONNECTION_TIMEOUTS.increase('job', POOL)} > 0",
    severity=Severity.PAGE,
    lasting="2m",
    keep_firing="5m",
    summary="{{ $labels.job }} gets no database connections",
    description=f"{{{{ $value | humanize }}}} callers waited in vain for a connection of pool "
    f"{{{{ $labels.{POOL} }}}} within five minutes.",
    board="svc-db",
    clues=OF_QUERIES,
)

DB_POOL_SATURATED = Alert(
    name="DBPoolSaturated",
    expr=f"{POOL_USE} > {FULL}",
    severity=Severity.TICKET,
    lasting="5m",
    summary="The connection pool of {{ $labels.job }} is nearly used up",
    description=f"{{{{ $value | humanizePercentage }}}} of pool {{{{ $labels.{POOL} }}}} on "
    "{{ $labels.instance }} is in use; the next burst will queue.",
    board="svc-db",
    clues=OF_QUERIES,
)

CACHE_HIT_RATIO_COLLAPSED = Alert(
    name="CacheHitRatioCollapsed",
    # The median of a day survives the collapse itself for half a day; a mean would follow it.
    expr=f"({CACHE_HIT_RATIO} < "
    f"{COLLAPSE} * quantile_over_time(0.5, {CACHE_HIT_RATIO}[1d] offset 10m) "
    f"or {CACHE_HIT_RATIO} < {WORTHLESS}) "
    f"and on (job, cache) {CACHE_LOOKUPS_5M} >= {ENOUGH_LOOKUPS}",
    severity=Severity.TICKET,
    lasting="10m",
    summary="Cache {{ $labels.cache }} of {{ $labels.job }} answers only "
    "{{ $value | humanizePercentage }} of its look-ups",
    description=f"Look-ups within five minutes: {current(CACHE_LOOKUPS_5M, 'job', 'cache')}. "
    "The ratio is below half of its usual value, or so low that the cache is of no use; "
    "the database carries the rest.",
    board="svc-cache",
    clues=OF_CACHES,
)

CACHE_STORE_DOWN = Alert(
    name="CacheStoreDown",
    expr=f"{CACHE_BREAKER_OPEN.max('job', 'cache')} == 1",
    severity=Severity.TICKET,
    lasting="1m",
    summary="{{ $labels.job }} does without the store of cache {{ $labels.cache }}",
    description="The store failed too often and is left alone; the database answers instead.",
    board="svc-cache",
)

CACHE_BUS_DOWN = Alert(
    name="CacheBusDown",
    expr=f"min by (job, instance, cache) ({CACHE_BUS_CONNECTED.select()}) == 0",
    severity=Severity.TICKET,
    lasting="5m",
    summary="{{ $labels.instance }} of {{ $labels.job }} does not hear of changes to cache "
    "{{ $labels.cache }}",
    description="What other processes invalidate may be answered from its memory until it expires.",
    board="svc-cache",
)
