"""Alerts on the database and the caches."""

from alerts.alert import Alert, Severity, current
from alerts.signals.datastores import (
    CACHE_HIT_RATIO,
    CACHE_LOOKUPS_5M,
    POOL_USE,
    QUERIES_10M,
    SLOW_QUERIES_10M,
    SLOW_QUERY_RATIO,
)
from alerts.signals.promises import TARGET, THRESHOLD
from vitals.catalogue import CACHE_BREAKER_OPEN, DB_CONNECTION_TIMEOUTS

ENOUGH_SLOW = 20
"""Slow queries within ten minutes; fewer are a chance event or a report."""
ENOUGH_LOOKUPS = 200
COLLAPSE = 0.5
"""The share of its usual hit ratio below which a cache has collapsed."""
WORTHLESS = 0.05
"""A cache that answers less than one look-up in twenty costs more than it saves."""
FULL = 0.9
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
)

DB_POOL_SATURATED = Alert(
    name="DBPoolSaturated",
    expr=f"{POOL_USE} > {FULL}",
    severity=Severity.TICKET,
    lasting="5m",
    summary="The connection pool of {{ $labels.job }} is nearly used up",
    description=f"{{{{ $value | humanizePercentage }}}} of pool {{{{ $labels.{POOL} }}}} on "
    "{{ $labels.instance }} is in use; the next burst will queue.",
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
)

CACHE_STORE_DOWN = Alert(
    name="CacheStoreDown",
    expr=f"{CACHE_BREAKER_OPEN.max('job', 'cache')} == 1",
    severity=Severity.TICKET,
    lasting="1m",
    summary="{{ $labels.job }} does without the store of cache {{ $labels.cache }}",
    description="The store failed too often and is left alone; the database answers instead.",
)
