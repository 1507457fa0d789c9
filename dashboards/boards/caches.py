"""The caches: what they answer, what they spare the database, and whether they can be trusted."""

from dataclasses import replace

from dashboards.annotations import DEPLOYS, FIRING
from dashboards.board import Board, Row
from dashboards.links import CACHE_UID
from dashboards.panels.panel import TimeSeries
from dashboards.panels.query import Query, now
from dashboards.panels.stat_panels import BarGauge, Stat
from dashboards.sections.dependencies import CACHE
from dashboards.style import Colour, Step, falling, painted
from dashboards.variables import CHOSEN, CHOSEN_JOB, INSTANCE, JOB, SOURCE, STEP
from rules.datastores import CACHE_HIT_RATIO, CACHE_HITS
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
    CACHE_REQUESTS,
)
from vitals.metrics.declarations import matching

BREAKER = Stat(
    id=1,
    title="Caches left alone",
    description="Caches whose store failed so often that it is left alone for a while; the service "
    "answers from the database meanwhile. Is Redis reachable?",
    unit="short",
    decimals=0,
    width=6,
    steps=(Step(Colour.GOOD), Step(Colour.BAD, 1)),
    queries=(now(f"sum({CACHE_BREAKER_OPEN.max('cache', **CHOSEN)})"),),
    empty="no cache",
)
SAVED = Stat(
    id=2,
    title="Database time saved",
    description="Seconds of loading that the caches spare each second: what they answer, times how "
    "long a load takes on average. So many more connections would be at work without them.",
    unit="s",
    width=6,
    queries=(
        now(
            f"sum({CACHE_HITS.select(job=CHOSEN_JOB)} * on (cache) "
            f"group_left () ({CACHE_LOAD_DURATION.mean('cache', window='1h', job=CHOSEN_JOB)}))"
        ),
    ),
    empty="no look-ups",
)
RATIOS = BarGauge(
    id=3,
    title="Hit ratio now",
    description="Share of look-ups of the last five minutes that each cache answered. What "
    "is good depends on what is cached; a fall matters more than the figure.",
    unit="percentunit",
    decimals=0,
    width=12,
    steps=falling(0.5, 0.8),
    queries=(now(CACHE_HIT_RATIO.select(job=CHOSEN_JOB), "{{cache}}"),),
    empty="no look-ups",
)
RESULTS = TimeSeries(
    id=11,
    title="Look-ups by result",
    description="Look-ups per second. Stale: answered with the old value while a new one is "
    "loaded. Negative: known not to exist. Bypass and error: the store was left alone or failed.",
    unit="ops",
    stacked=True,
    queries=(
        Query(
            CACHE_REQUESTS.rate("layer", "result", window=STEP, **CHOSEN), "{{layer}} {{result}}"
        ),
    ),
    overrides=(
        painted("l1 hit", Colour.GOOD),
        painted("l2 hit", Colour.CALM),
        painted("l1 miss", Colour.QUIET),
        painted("l2 miss", Colour.WATCH),
        painted("l1 error", Colour.BAD),
        painted("l2 error", Colour.BAD),
    ),
)
LOADS = TimeSeries(
    id=12,
    title="Load of a missing value, p95",
    description="95 of 100 values that were not cached were loaded within this time. It is what a "
    "miss costs a request.",
    unit="s",
    queries=(
        Query(
            defined(CACHE_LOAD_DURATION.quantile(0.95, "cache", window=STEP, **CHOSEN)), "{{cache}}"
        ),
    ),
)
OPERATIONS = TimeSeries(
    id=21,
    empty="no store",
    title="Store commands, p95",
    description="95 of 100 commands to the store are answered within this time, by command. Above "
    "20 ms a cache costs more than it saves.",
    unit="s",
    queries=(
        Query(
            defined(CACHE_OPERATION_DURATION.quantile(0.95, "operation", window=STEP, **CHOSEN)),
            "{{operation}}",
        ),
    ),
)
TROUBLE = TimeSeries(
    id=22,
    title="Errors and bypasses",
    description="Look-ups per second that the store could not serve, by cache.",
    unit="ops",
    queries=(
        Query(
            CACHE_REQUESTS.rate(
                "cache", "result", window=STEP, **CHOSEN, result=matching("error|bypass")
            ),
            "{{cache}} {{result}}",
        ),
    ),
    empty="none",
)
INVALIDATIONS = TimeSeries(
    id=23,
    title="Invalidations",
    description="Invalidations per second. Queued: the store was away, they are sent when it is "
    "back. Failed: somebody may see an old value until it expires.",
    unit="ops",
    queries=(Query(CACHE_INVALIDATIONS.rate("outcome", window=STEP, **CHOSEN), "{{outcome}}"),),
    empty="none",
    overrides=(
        painted("ok", Colour.GOOD),
        painted("queued", Colour.WATCH),
        painted("failed", Colour.BAD),
    ),
)
REJECTED = TimeSeries(
    id=24,
    soft_high=1,
    title="Fills rejected",
    description="Loaded values per second that were not stored, because they were invalidated "
    "while being loaded: each would have been a stale value. And entries that could not be used: "
    "of another release, corrupt, or too large to store.",
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
    tint=Colour.CALM,
    empty="no layer of its own",
    title="In-process layer",
    description="Bytes that each instance's own layer holds.",
    unit="bytes",
    queries=(Query(CACHE_L1_BYTES.sum("instance", **CHOSEN), "{{instance}}"),),
)
BUS = TimeSeries(
    id=26,
    tint=Colour.CALM,
    empty="no other instance to hear",
    title="Hears the others",
    description="1 while an instance hears the invalidations of the others; at 0 its own layer is "
    "not to be trusted and is not used.",
    unit="short",
    high=1,
    queries=(Query(f"min by (instance) ({CACHE_BUS_CONNECTED.select(**CHOSEN)})", "{{instance}}"),),
)

BOARD = Board(
    uid=CACHE_UID,
    title="Cache",
    description="What do the caches answer, what do they spare, can they be trusted?",
    variables=(SOURCE, JOB, INSTANCE),
    annotations=(DEPLOYS, FIRING),
    rows=(
        Row((BREAKER, SAVED, RATIOS)),
        Row((replace(CACHE, id=10, width=8, links=()), RESULTS, LOADS)),
        Row((OPERATIONS, TROUBLE, INVALIDATIONS), title="The store", id=20),
        Row((REJECTED, MEMORY, BUS)),
    ),
)
