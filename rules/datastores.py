"""How the database and the caches do."""

from rules.signal import Signal, defined, or_zero
from vitals.metrics.catalogue import (
    CACHE_REQUESTS,
    DB_CONNECTION_COUNT,
    DB_CONNECTION_MAX,
    DB_CONNECTION_WAIT,
    DB_N_PLUS_ONE,
    DB_OPERATION_DURATION,
    DB_QUERIES_PER_REQUEST,
    DB_SLOW_QUERIES,
)
from vitals.metrics.declarations import matching, not_matching

ANSWERED = "hit|stale|negative"
"""Cache results that spared the source a question."""

_DB = DB_OPERATION_DURATION.name
_POOL = "db_client_connection_pool_name"

# -- Database ------------------------------------------------------------------------------

QUERY_RATE = Signal(
    f"job:{_DB}_count:rate5m",
    "How many queries are sent?",
    "ops",
    DB_OPERATION_DURATION.rate("job"),
)
QUERY_P95 = Signal(
    f"job:{_DB}:p95_5m",
    "How fast are 95 of 100 queries?",
    "s",
    defined(DB_OPERATION_DURATION.quantile(0.95, "job")),
)
QUERY_P95_BY_FINGERPRINT = Signal(
    f"job_fingerprint:{_DB}:p95_5m",
    "Which statements are slow?",
    "s",
    defined(DB_OPERATION_DURATION.quantile(0.95, "job", "db_query_fingerprint")),
)
QUERIES_10M = Signal(
    f"job:{_DB}_count:increase10m",
    "How many queries did ten minutes bring?",
    "short",
    DB_OPERATION_DURATION.increase("job", window="10m"),
)
SLOW_QUERIES_10M = Signal(
    "job:db_client_slow_queries:increase10m",
    "How many slow queries did ten minutes bring?",
    "short",
    f"{DB_SLOW_QUERIES.increase('job', window='10m')} or {QUERIES_10M} * 0",
)
SLOW_QUERY_RATIO = Signal(
    "job:db_client_slow_queries:ratio_increase10m",
    "What share of queries is slow?",
    "percentunit",
    f"{SLOW_QUERIES_10M} / ({QUERIES_10M} > 0)",
)
QUERIES_PER_REQUEST_P95 = Signal(
    f"job_route:{DB_QUERIES_PER_REQUEST.name}:p95_5m",
    "Which routes send many queries a request?",
    "short",
    defined(DB_QUERIES_PER_REQUEST.quantile(0.95, "job", "http_route")),
)
N_PLUS_ONE_5M = Signal(
    "job_route_fingerprint:db_client_n_plus_one:increase5m",
    "How many requests sent one statement once a row?",
    "short",
    DB_N_PLUS_ONE.increase("job", "http_route", "db_query_fingerprint"),
)
POOL_USE = Signal(
    "job_instance_pool:db_client_connection_use:ratio",
    "How full is each connection pool?",
    "percentunit",
    f"{DB_CONNECTION_COUNT.sum('job', 'instance', _POOL, state='used')} / "
    f"({DB_CONNECTION_MAX.sum('job', 'instance', _POOL)} > 0)",
)
POOL_WAIT_P95 = Signal(
    f"job_pool:{DB_CONNECTION_WAIT.name}:p95_5m",
    "How long do callers wait for a connection?",
    "s",
    defined(DB_CONNECTION_WAIT.quantile(0.95, "job", _POOL)),
)

# -- Cache --------------------------------------------------------------------------------
# A look-up that the first layer cannot answer asks the second and is counted in both. So what
# went unanswered in the end is the second layer's share, and the first's only if it is alone.

_LAST = CACHE_REQUESTS.rate("job", "cache", layer="l2")
_UNANSWERED_LAST = CACHE_REQUESTS.rate("job", "cache", layer="l2", result=not_matching(ANSWERED))
_UNANSWERED_FIRST = CACHE_REQUESTS.rate("job", "cache", layer="l1", result=not_matching(ANSWERED))
CACHE_HITS = Signal(
    "job_cache:cache_requests_answered:rate5m",
    "How many look-ups did each cache answer?",
    "ops",
    or_zero(
        CACHE_REQUESTS.rate("job", "cache", result=matching(ANSWERED)),
        CACHE_REQUESTS.rate("job", "cache"),
    ),
)
CACHE_MISSES = Signal(
    "job_cache:cache_requests_unanswered:rate5m",
    "How many look-ups of each cache went on to the source?",
    "ops",
    f"{or_zero(_UNANSWERED_LAST, _LAST)} or {_UNANSWERED_FIRST} or {CACHE_HITS} * 0",
)
CACHE_LOOKUPS = Signal(
    "job_cache:cache_lookups:rate5m",
    "How often is each cache asked?",
    "ops",
    f"{CACHE_HITS} + {CACHE_MISSES}",
)
CACHE_LOOKUPS_5M = Signal(
    "job_cache:cache_lookups:count5m",
    "How often was each cache asked within five minutes?",
    "short",
    f"{CACHE_LOOKUPS} * 300",
)
CACHE_HIT_RATIO = Signal(
    "job_cache:cache_hits:ratio_rate5m",
    "What share of look-ups does each cache answer?",
    "percentunit",
    f"{CACHE_HITS} / ({CACHE_LOOKUPS} > 0)",
)
