"""Cache board: hit ratio, database time saved, Redis, invalidations."""

from dataclasses import replace

from dashboards.annotations import DEPLOYS, DOWN, FIRING
from dashboards.board import Board, Row
from dashboards.links import CACHE_UID
from dashboards.panels.panel import TimeSeries
from dashboards.panels.query import Query, instant_query
from dashboards.panels.stat_panels import BarGauge, Stat
from dashboards.sections.dependencies import CACHE, HIT_RATIO_WHILE_ANSWERED
from dashboards.style import Colour, Step, falling, series_colour
from dashboards.variables import CHOSEN, CHOSEN_JOB, INSTANCE, JOB, SOURCE, STEP
from rules.datastores import CACHE_HITS
from rules.signal import defined
from vitals.metrics.catalogue import (
    CACHE_BREAKER_OPEN,
    CACHE_BUS_CONNECTED,
    CACHE_ENTRIES_REFUSED,
    CACHE_FILLS_REJECTED,
    CACHE_INVALIDATIONS,
    CACHE_L1_BYTES,
    CACHE_LOAD_DURATION,
    CACHE_OPERATION_DURATION,
    CACHE_OPERATION_ERRORS,
    CACHE_REFUSALS,
    CACHE_REQUESTS,
)
from vitals.metrics.declarations import matching, not_matching

_REFUSALS = matching("|".join(CACHE_REFUSALS))

BREAKER = Stat(
    id=1,
    title="Open circuit breakers",
    description="Caches whose circuit breaker is open because Redis failed or timed out too "
    "often; lookups go to the database meanwhile. Is Redis reachable?",
    unit="short",
    decimals=0,
    width=6,
    steps=(Step(Colour.GOOD), Step(Colour.BAD, 1)),
    queries=(instant_query(f"sum({CACHE_BREAKER_OPEN.max('cache', **CHOSEN)})"),),
    empty="no cache",
)
LOAD_TIME_SAVED = Stat(
    id=2,
    title="Database time saved",
    description="Seconds of loading that the caches save per second: hits times the mean load "
    "time. That many more connections would be active without them.",
    unit="suffix:s/s",
    width=6,
    queries=(
        instant_query(
            f"sum({CACHE_HITS.select(job=CHOSEN_JOB)} * on (cache) "
            f"group_left () ({CACHE_LOAD_DURATION.mean('cache', window='1h', job=CHOSEN_JOB)}))"
        ),
    ),
    empty="no lookups",
)
RATIOS = BarGauge(
    id=3,
    title="Current hit ratio",
    description="Share of lookups of the last five minutes that each cache served. The right "
    "level depends on what is cached; a drop matters more than the value. A cache whose store does "
    "not answer, or has no lookups, has none.",
    unit="percentunit",
    decimals=0,
    width=12,
    steps=falling(0.5, 0.8),
    queries=(instant_query(HIT_RATIO_WHILE_ANSWERED, "{{cache}}"),),
    empty="nothing looked up, or Redis away",
)
RESULTS = TimeSeries(
    id=11,
    title="Lookups by result",
    description="Lookups per second. Stale: served with the old value while a new one is loaded. "
    "Negative: known not to exist. Bypass and error: the circuit breaker was open or Redis failed.",
    unit="ops",
    stacked=True,
    queries=(
        Query(
            CACHE_REQUESTS.rate("layer", "result", window=STEP, **CHOSEN), "{{layer}} {{result}}"
        ),
    ),
    overrides=(
        series_colour("l1 hit", Colour.GOOD),
        series_colour("l2 hit", Colour.INFO),
        series_colour("l1 miss", Colour.MUTED),
        series_colour("l2 miss", Colour.WARNING),
        series_colour("l1 error", Colour.BAD),
        series_colour("l2 error", Colour.BAD),
    ),
)
LOADS = TimeSeries(
    id=12,
    title="Load time on a miss, p95",
    description="95 % of missing values were loaded within this time: the cost of a miss for a "
    "request.",
    unit="s",
    queries=(
        Query(
            defined(CACHE_LOAD_DURATION.quantile(0.95, "cache", window=STEP, **CHOSEN)), "{{cache}}"
        ),
    ),
)
OPERATIONS = TimeSeries(
    id=21,
    empty="no Redis",
    title="Redis commands, p95",
    description="95 % of Redis commands finish within this time, by command. Above 20 ms a cache "
    "costs more than it saves.",
    unit="s",
    queries=(
        Query(
            defined(CACHE_OPERATION_DURATION.quantile(0.95, "operation", window=STEP, **CHOSEN)),
            "{{operation}}",
        ),
    ),
)
REFUSED = TimeSeries(
    id=27,
    title="Refused commands",
    description="Commands per second that Redis refused, by cache and the code of its reply. OOM: "
    "its memory is full and it may not evict; READONLY: it is a replica; NOAUTH or WRONGPASS: the "
    "password; LOADING: it is starting. Redis counts the same, see `redis-cli info errorstats`.",
    unit="ops",
    soft_high=1,
    queries=(
        Query(
            CACHE_OPERATION_ERRORS.rate(
                *("cache", "error_type"), window=STEP, **CHOSEN, error_type=_REFUSALS
            ),
            "{{cache}}: {{error_type}}",
        ),
    ),
    empty="none recorded",
)
STORE_ERRORS = TimeSeries(
    id=22,
    title="Errors and bypasses",
    description="Lookups per second that Redis could not serve, by cache, and commands per second "
    "that failed otherwise than refused, by what they failed with. Connect: an attempt to connect.",
    unit="ops",
    queries=(
        Query(
            CACHE_REQUESTS.rate(
                "cache", "result", window=STEP, **CHOSEN, result=matching("error|bypass")
            ),
            "{{cache}} {{result}}",
        ),
        Query(
            CACHE_OPERATION_ERRORS.rate(
                *("cache", "operation", "error_type"),
                window=STEP,
                **CHOSEN,
                error_type=not_matching("|".join(CACHE_REFUSALS)),
            ),
            "{{cache}} {{operation}}: {{error_type}}",
        ),
    ),
    empty="none recorded",
)
INVALIDATIONS = TimeSeries(
    id=23,
    title="Invalidations",
    description="Invalidations per second. Queued: Redis was unavailable, they are sent when it "
    "is back. Failed: a stale value may be served until it expires.",
    unit="ops",
    queries=(Query(CACHE_INVALIDATIONS.rate("outcome", window=STEP, **CHOSEN), "{{outcome}}"),),
    empty="none recorded",
    overrides=(
        series_colour("ok", Colour.GOOD),
        series_colour("queued", Colour.WARNING),
        series_colour("failed", Colour.BAD),
    ),
)
REJECTED = TimeSeries(
    id=24,
    soft_high=1,
    title="Rejected fills and entries",
    description="Loaded values per second that were not stored because an invalidation overtook "
    "the load: each would have been stale. Entries per second that could not be used: of another "
    "release, corrupt, or too large to store.",
    unit="ops",
    queries=(
        Query(CACHE_FILLS_REJECTED.rate("cache", window=STEP, **CHOSEN), "{{cache}}"),
        Query(
            CACHE_ENTRIES_REFUSED.rate("cache", "reason", window=STEP, **CHOSEN),
            "{{cache}}, {{reason}}",
        ),
    ),
)
MEMORY = TimeSeries(
    id=25,
    tint=Colour.INFO,
    empty="no L1 cache",
    title="L1 cache size",
    description="Bytes that the in-process (L1) cache of each instance holds.",
    unit="bytes",
    queries=(Query(CACHE_L1_BYTES.sum("instance", **CHOSEN), "{{instance}}"),),
)
BUS = TimeSeries(
    id=26,
    tint=Colour.INFO,
    empty="no invalidation bus",
    title="Invalidation bus connected",
    description="1 while an instance receives the invalidations of the other instances; at 0 its "
    "L1 cache is empty and unused, as its values might be stale.",
    unit="short",
    high=1,
    queries=(Query(f"min by (instance) ({CACHE_BUS_CONNECTED.select(**CHOSEN)})", "{{instance}}"),),
)

BOARD = Board(
    uid=CACHE_UID,
    title="Cache",
    description="What do the caches serve, how much database time do they save, can they be "
    "trusted?",
    variables=(SOURCE, JOB, INSTANCE),
    annotations=(DEPLOYS, DOWN, FIRING),
    rows=(
        Row((BREAKER, LOAD_TIME_SAVED, RATIOS)),
        Row((replace(CACHE, id=10, width=8, links=()), RESULTS, LOADS)),
        Row(
            (
                *(OPERATIONS, STORE_ERRORS, REFUSED),
                *(replace(each, width=6) for each in (INVALIDATIONS, REJECTED, MEMORY, BUS)),
            ),
            title="Redis",
            id=20,
        ),
    ),
)
