"""Recording rules of the database and the caches."""

from rules.signal import Signal, defined, or_zero, quantile, within_ten
from vitals.metrics.catalogue import (
    CACHE_OPERATION_ERRORS,
    CACHE_REFUSALS,
    CACHE_REQUESTS,
    DB_CONNECTION_COUNT,
    DB_CONNECTION_MAX,
    DB_CONNECTION_WAIT,
    DB_N_PLUS_ONE,
    DB_OPERATION_DURATION,
    DB_QUERIES_PER_REQUEST,
    DB_SLOW_QUERIES,
    DB_STATEMENT_SECONDS,
    OTHER,
)
from vitals.metrics.declarations import excluding, matching, not_matching

ANSWERED = "hit|stale|negative"
"""Cache results that needed no load from the source."""

STATEMENTS = "statements"
"""The rule group of histograms that no alert reads."""

_DB = DB_OPERATION_DURATION.name
_POOL = "db_client_connection_pool_name"

# -- Database ------------------------------------------------------------------------------

STATEMENT_BUCKETS = Signal(
    f"job_fingerprint_le:{_DB}_bucket:rate5m",
    "How are the times of each statement distributed?",
    "ops",
    DB_OPERATION_DURATION.buckets_rate("job", "db_query_fingerprint"),
    group=STATEMENTS,
)
QUERY_P95 = Signal(
    f"job:{_DB}:p95_5m",
    "What is the p95 query time?",
    "s",
    quantile(0.95, STATEMENT_BUCKETS.sum("job", "le")),
    group=STATEMENTS,
)
QUERY_P95_BY_FINGERPRINT = Signal(
    f"job_fingerprint:{_DB}:p95_5m",
    "Which statements are slow?",
    "s",
    quantile(0.95, str(STATEMENT_BUCKETS)),
    group=STATEMENTS,
)
CALLS_BY_ERROR = Signal(
    f"job_summary_fingerprint_error:{_DB}_count:increase5m",
    "How often was each statement sent within five minutes, by its error?",
    "short",
    DB_OPERATION_DURATION.increase("job", "db_query_summary", "db_query_fingerprint", "error_type"),
)
QUERIES_5M = Signal(
    f"job:{_DB}_count:increase5m",
    "How many queries were sent within five minutes?",
    "short",
    CALLS_BY_ERROR.sum("job"),
)
QUERIES_10M = within_ten(QUERIES_5M, "And within ten minutes?")
SLOW_QUERIES_BY_FINGERPRINT = Signal(
    "job_fingerprint:db_client_slow_queries:increase5m",
    "How often was each statement slow within five minutes?",
    "short",
    DB_SLOW_QUERIES.increase("job", "db_query_fingerprint"),
)
SLOW_QUERIES_5M = Signal(
    "job:db_client_slow_queries:increase5m",
    "How many queries were slow within five minutes?",
    "short",
    or_zero(SLOW_QUERIES_BY_FINGERPRINT.sum("job"), QUERIES_5M),
)
SLOW_QUERIES_10M = within_ten(SLOW_QUERIES_5M, "And within ten minutes?")
SLOW_QUERY_RATIO = Signal(
    "job:db_client_slow_queries:ratio_increase10m",
    "What share of queries is slow?",
    "percentunit",
    f"{SLOW_QUERIES_10M} / ({QUERIES_10M} > 0)",
)
FAILING_STATEMENTS = Signal(
    "job_summary_fingerprint_error:db_client_operation_failures:increase5m",
    "Which statements fail, and with which error?",
    "short",
    f"{CALLS_BY_ERROR.select(error_type=excluding(''))} > 0",
)
STATEMENTS_OF_ROUTES = Signal(
    "job_route_summary_fingerprint_site:db_client_statement_seconds:increase5m",
    "How many seconds did requests of each route wait for each statement, and which line sent it?",
    "s",
    DB_STATEMENT_SECONDS.increase(
        *("job", "http_route", "db_query_summary", "db_query_fingerprint", "site"),
        db_query_fingerprint=excluding(OTHER),
    )
    + " > 0",
)
QUERIES_PER_REQUEST_P95 = Signal(
    f"job_route:{DB_QUERIES_PER_REQUEST.name}:p95_5m",
    "Which routes send many queries per request?",
    "short",
    defined(DB_QUERIES_PER_REQUEST.quantile(0.95, "job", "http_route")),
    group=STATEMENTS,
)
N_PLUS_ONE_5M = Signal(
    "job_route_fingerprint:db_client_n_plus_one:increase5m",
    "How many requests repeated one statement once per row?",
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
    group=STATEMENTS,
)

# -- Cache --------------------------------------------------------------------------------
# A lookup that L1 misses goes on to L2 and is counted in both. So the misses are those of L2, and
# those of L1 only if there is no L2.

_REFUSED = CACHE_OPERATION_ERRORS.increase(
    *("job", "cache", "error_type"),
    error_type=matching("|".join(CACHE_REFUSALS)),
    operation=excluding("connect"),
)
CACHE_RESULTS = Signal(
    "job_cache_layer_result:cache_requests:rate5m",
    "What do lookups of each cache result in?",
    "ops",
    CACHE_REQUESTS.rate("job", "cache", "layer", "result"),
)
_L2_LOOKUPS = CACHE_RESULTS.sum("job", "cache", layer="l2")
_L2_MISSES = CACHE_RESULTS.sum("job", "cache", layer="l2", result=not_matching(ANSWERED))
_L1_MISSES = CACHE_RESULTS.sum("job", "cache", layer="l1", result=not_matching(ANSWERED))
CACHE_HITS = Signal(
    "job_cache:cache_requests_answered:rate5m",
    "How many lookups did each cache serve?",
    "ops",
    or_zero(
        CACHE_RESULTS.sum("job", "cache", result=matching(ANSWERED)),
        CACHE_RESULTS.sum("job", "cache"),
    ),
)
CACHE_MISSES = Signal(
    "job_cache:cache_requests_unanswered:rate5m",
    "How many lookups of each cache went on to the source?",
    "ops",
    or_zero(f"{or_zero(_L2_MISSES, _L2_LOOKUPS)} or {_L1_MISSES}", CACHE_HITS),
)
CACHE_LOOKUPS = Signal(
    "job_cache:cache_lookups:rate5m",
    "How many lookups does each cache get?",
    "ops",
    f"{CACHE_HITS} + {CACHE_MISSES}",
)
CACHE_LOOKUPS_5M = Signal(
    "job_cache:cache_lookups:count5m",
    "How many lookups did each cache get within five minutes?",
    "short",
    f"{CACHE_LOOKUPS} * 300",
)
CACHE_REFUSALS_5M = Signal(
    "job_cache_error:cache_commands_refused:increase5m",
    "How many commands of each cache did its store refuse, and why?",
    "short",
    # An attempt to connect that is refused opens the circuit breaker, which has its own alert.
    f"{_REFUSED} > 0",
)
CACHE_HIT_RATIO = Signal(
    "job_cache:cache_hits:ratio_rate5m",
    "What share of lookups does each cache serve?",
    "percentunit",
    f"{CACHE_HITS} / ({CACHE_LOOKUPS} > 0)",
)
