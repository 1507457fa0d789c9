"""Alerts on the database and the caches."""

from alerts.alert import Alert, Severity, current_value
from alerts.enrichment import (
    FOR_CACHES,
    FOR_QUERIES,
    STORE_ERROR,
    template,
)
from alerts.investigation import OF_N_PLUS_ONE, OF_POOLS, OF_PROCESSES, OF_SLOW_QUERIES
from rules.datastores import (
    CACHE_HIT_RATIO,
    CACHE_LOOKUPS_5M,
    CACHE_REFUSALS_5M,
    N_PLUS_ONE_5M,
    POOL_USE,
    QUERIES_10M,
    SLOW_QUERIES_10M,
    SLOW_QUERY_RATIO,
)
from rules.slo import REQUESTS_5M_BY_ROUTE, TARGET, THRESHOLD
from vitals.metrics.catalogue import CACHE_BREAKER_OPEN, CACHE_BUS_CONNECTED, DB_CONNECTION_TIMEOUTS

MIN_SLOW_QUERIES = 20
"""Slow queries within ten minutes; fewer are chance or a report."""
MIN_LOOKUPS = 200
COLLAPSED_SHARE = 0.5
"""The share of its usual hit ratio below which a cache has collapsed."""
USELESS_HIT_RATIO = 0.05
"""A cache that serves less than one lookup in twenty costs more than it saves."""
MIN_REFUSALS = 10
"""Refused commands of a cache within five minutes; fewer are a failover."""
SATURATED = 0.9
MIN_N_PLUS_ONE_REQUESTS = 20
"""Requests with N+1 within five minutes; fewer are a rarely used page."""
N_PLUS_ONE_SHARE = 0.1
"""The share of a route's requests from which N+1 is a property of the route, not of one caller."""
POOL = "db_client_connection_pool_name"

SLOW_QUERY_RATIO_HIGH = Alert(
    name="SlowQueryRatioHigh",
    expr=f"{SLOW_QUERY_RATIO} > on (job) (1 - {TARGET.select(slo='queries', http_route='')}) "
    f"and on (job) {SLOW_QUERIES_10M} >= {MIN_SLOW_QUERIES}",
    fires_when="the share of slow queries exceeds the objective",
    not_when="fewer than 20 slow ones in 10m",
    severity=Severity.TICKET,
    for_="10m",
    summary="{{ $value | humanizePercentage }} of the queries of {{ $labels.job }} are slow",
    description=f"Slow within ten minutes: {current_value(SLOW_QUERIES_10M, 'job')} of "
    f"{current_value(QUERIES_10M, 'job')}. Target: "
    + current_value(TARGET, "job", slo="queries", http_route="", show="humanizePercentage")
    + " within "
    + current_value(THRESHOLD, "job", slo="queries", http_route="", show="humanizeDuration")
    + ".",
    board="svc-db",
    enrichments=FOR_QUERIES,
    investigation=OF_SLOW_QUERIES,
)

N_PLUS_ONE = Alert(
    name="NPlusOne",
    # The kit detects it within each request, so no earlier number of queries is needed.
    expr=f"{N_PLUS_ONE_5M} / on (job, http_route) group_left () {REQUESTS_5M_BY_ROUTE} "
    f"> {N_PLUS_ONE_SHARE} and {N_PLUS_ONE_5M} >= {MIN_N_PLUS_ONE_REQUESTS}",
    fires_when="a route queries once per row",
    not_when="fewer than 20 such requests in 5m, or a tenth of the route's",
    severity=Severity.TICKET,
    for_="10m",
    summary="{{ $labels.http_route }} of {{ $labels.job }} queries the database once per row (N+1)",
    description="{{ $value | humanizePercentage }} of its requests within five minutes repeated "
    "one statement: {{ $labels.db_query_fingerprint }}.",
    board="svc-db",
    enrichments=FOR_QUERIES,
    investigation=OF_N_PLUS_ONE,
)

DB_POOL_TIMEOUTS = Alert(
    name="DBPoolTimeouts",
    expr=f"{DB_CONNECTION_TIMEOUTS.increase('job', POOL)} > 0",
    fires_when="connection checkouts time out",
    severity=Severity.PAGE,
    for_="2m",
    keep_firing_for="5m",
    summary="{{ $labels.job }} gets no database connections",
    description=f"{{{{ $value | humanize }}}} checkouts timed out waiting for a connection of pool "
    f"{{{{ $labels.{POOL} }}}} within five minutes.",
    board="svc-db",
    enrichments=FOR_QUERIES,
    investigation=OF_POOLS,
)

DB_POOL_SATURATED = Alert(
    name="DBPoolSaturated",
    expr=f"{POOL_USE} > {SATURATED}",
    fires_when="a pool is more than 90% in use",
    severity=Severity.TICKET,
    for_="5m",
    summary="A connection pool of {{ $labels.job }} is nearly exhausted",
    description=f"{{{{ $value | humanizePercentage }}}} of pool {{{{ $labels.{POOL} }}}} on "
    "{{ $labels.instance }} is in use; the next burst will have to wait.",
    board="svc-db",
    enrichments=FOR_QUERIES,
    investigation=OF_POOLS,
)

CACHE_HIT_RATIO_COLLAPSED = Alert(
    name="CacheHitRatioCollapsed",
    # The median of a day survives the collapse itself for half a day; a mean would follow it.
    expr=f"({CACHE_HIT_RATIO} < "
    f"{COLLAPSED_SHARE} * quantile_over_time(0.5, {CACHE_HIT_RATIO}[1d] offset 10m) "
    f"or {CACHE_HIT_RATIO} < {USELESS_HIT_RATIO}) "
    f"and on (job, cache) {CACHE_LOOKUPS_5M} >= {MIN_LOOKUPS}",
    fires_when="the hit ratio is half of the usual one, or less than 5%",
    not_when="fewer than 200 lookups in 5m",
    severity=Severity.TICKET,
    for_="10m",
    summary="Cache {{ $labels.cache }} of {{ $labels.job }} serves only "
    "{{ $value | humanizePercentage }} of its lookups",
    description=f"Lookups within five minutes: {current_value(CACHE_LOOKUPS_5M, 'job', 'cache')}. "
    "The ratio is below half of its usual value, or so low that the cache is useless; the other "
    "lookups go to the database.",
    board="svc-cache",
    enrichments=FOR_CACHES,
    investigation=OF_PROCESSES,
)

CACHE_STORE_DOWN = Alert(
    name="CacheStoreDown",
    expr=f"{CACHE_BREAKER_OPEN.max('job', 'cache', 'server_address')} == 1",
    fires_when="the circuit breaker of a cache is open",
    severity=Severity.TICKET,
    for_="1m",
    summary="Circuit breaker of cache {{ $labels.cache }} of {{ $labels.job }} is open",
    description="Redis failed or timed out too often; lookups go to the database instead."
    + template((STORE_ERROR,), ""),
    board="svc-cache",
    investigation=OF_PROCESSES,
)

CACHE_WRITES_REFUSED = Alert(
    name="CacheWritesRefused",
    expr=f"{CACHE_REFUSALS_5M} >= {MIN_REFUSALS}",
    fires_when="Redis refuses commands of a cache",
    not_when="fewer than 10 in 5m",
    severity=Severity.TICKET,
    for_="8m",  # longer than a restart of Redis, whose last refusals are seen for five minutes
    summary="Redis refuses commands of cache {{ $labels.cache }} of {{ $labels.job }}: "
    "{{ $labels.error_type }}",
    description="{{ $value | humanize }} commands within five minutes. Values are not stored, so "
    "their lookups go to the database; the circuit breaker stays closed while Redis answers reads.",
    board="svc-cache",
    investigation=OF_PROCESSES,
)

CACHE_BUS_DOWN = Alert(
    name="CacheBusDown",
    expr=f"min by (job, instance, cache) ({CACHE_BUS_CONNECTED.select()}) == 0",
    fires_when="an instance is disconnected from the invalidation bus",
    severity=Severity.TICKET,
    for_="5m",
    summary="{{ $labels.instance }} of {{ $labels.job }} is disconnected from the invalidation "
    "bus of cache {{ $labels.cache }}",
    description="Its L1 cache is empty and unused until it is subscribed again, so that no stale "
    "value is served; every lookup goes to Redis.",
    board="svc-cache",
    investigation=OF_PROCESSES,
)
