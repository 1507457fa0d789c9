"""Saturation panels: use of limited resources, time until they are used up, CPU time not got."""

from dashboards.panels.panel import TimeSeries
from dashboards.panels.query import Query, table_query
from dashboards.panels.table_panels import Table
from dashboards.style import Colour, Override, column, falling, limit_line, rising
from dashboards.variables import CHOSEN, STEP
from rules.monitoring import UP
from rules.saturation import CPU_WAIT, HELD_USE, LONG_SECONDS_LEFT, SECONDS_LEFT
from vitals.metrics.catalogue import (
    CGROUP_CPU_LIMIT,
    CGROUP_PERIODS,
    CGROUP_TASKS_LIMIT,
    CGROUP_THROTTLED_PERIODS,
    FILESYSTEM_LIMIT,
    PROCESS_MAX_FDS,
    PROCESS_MAX_VIRTUAL_MEMORY,
    PROCESS_THREADS,
    SYSTEM_MEMORY_LIMIT,
    SYSTEM_PRESSURE,
    THREAD_POOL_LIMIT,
    THREAD_POOL_USED,
    THREAD_POOL_WAIT,
    THREAD_POOL_WAITING,
)
from vitals.metrics.declarations import matching

_RESOURCE = "{{instance}} {{resource}}"
_UNKNOWN = "-1"

USE = TimeSeries(
    id=40,
    title="Use of limits",
    empty="none known: no limit of this service can be read",
    description="How much of each limited resource is used: descriptors, memory, disks, threads, "
    "connections. Of threads and connections, what is in use all the time. A resource without a "
    "known limit is not here, see the limits below.",
    unit="percentunit",
    high=1,
    width=12,
    limits=True,
    steps=rising(0.8, 0.9),
    queries=(Query(HELD_USE.select(**CHOSEN), _RESOURCE),),
)
TIME_LEFT = TimeSeries(
    id=41,
    title="Time to exhaustion",
    empty="none: nothing grows steadily towards its limit",
    description="When each resource will be used up, if it grows as in the last three minutes (or, "
    "where that says nothing, in the last hour). Warm-up, steps and saw-tooth patterns are not "
    "extrapolated. Below ten minutes an alert pages.",
    unit="s",
    width=12,
    limits=True,
    steps=falling(600, 4 * 3600),
    queries=(
        Query(
            f"{SECONDS_LEFT.select(**CHOSEN)} or {LONG_SECONDS_LEFT.select(**CHOSEN)}", _RESOURCE
        ),
    ),
)


def _limit(series: str) -> str:
    """A limit by instance; minus one where none is known, so that the table can say so."""
    return (
        f"(min by (instance) ({series}) < +Inf) or max by (instance) ({UP.select(**CHOSEN)}) * 0 "
        f"- 1"
    )


def _column(name: str, unit: str) -> Override:
    return column(name, unit, words={_UNKNOWN: ("no limit known", Colour.MUTED)})


LIMITS = Table(
    id=42,
    title="Limits",
    description="The limit of each resource, by instance: of file descriptors and address space a "
    "worker's, of memory the machine's and the cgroup's, of disks the smallest file system that "
    "the service measures, of threads those of anyio's pool.",
    unit="short",
    width=24,
    height=6,
    queries=(
        table_query(_limit(PROCESS_MAX_FDS.select(**CHOSEN))),
        table_query(_limit(SYSTEM_MEMORY_LIMIT.select(**CHOSEN, scope="host"))),
        table_query(_limit(SYSTEM_MEMORY_LIMIT.select(**CHOSEN, scope="cgroup"))),
        table_query(_limit(PROCESS_MAX_VIRTUAL_MEMORY.select(**CHOSEN))),
        table_query(_limit(FILESYSTEM_LIMIT.select(**CHOSEN))),
        table_query(_limit(THREAD_POOL_LIMIT.select(**CHOSEN))),
        table_query(_limit(CGROUP_TASKS_LIMIT.select(**CHOSEN))),
        table_query(_limit(CGROUP_CPU_LIMIT.select(**CHOSEN))),
    ),
    columns={
        "instance": "Instance",
        "Value #A": "Descriptors",
        "Value #B": "Memory",
        "Value #C": "Memory of cgroup",
        "Value #D": "Address space",
        "Value #E": "Disk",
        "Value #F": "Threads of pool",
        "Value #G": "Tasks of cgroup",
        "Value #H": "CPU quota",
    },
    sort=(("Instance", False),),
    overrides=(
        _column("Descriptors", "short"),
        _column("Memory", "bytes"),
        _column("Memory of cgroup", "bytes"),
        _column("Address space", "bytes"),
        _column("Disk", "bytes"),
        _column("Threads of pool", "short"),
        _column("Tasks of cgroup", "short"),
        _column("CPU quota", "short"),
    ),
)
CPU = TimeSeries(
    id=43,
    tint=Colour.INFO,
    title="Waiting for a CPU",
    empty="none known: this system does not count it",
    description="The share of the time in which the event loop is ready to run but gets no CPU, "
    "and the share of the periods of its CPU quota in which the cgroup was throttled. "
    "Above a fifth the machine or the quota is too small.",
    unit="percentunit",
    limits=True,
    steps=rising(0.1, 0.2),
    queries=(
        Query(CPU_WAIT.select(**CHOSEN), "{{instance}}"),
        Query(
            f"{CGROUP_THROTTLED_PERIODS.rate('instance', window=STEP, **CHOSEN)} "
            f"/ ({CGROUP_PERIODS.rate('instance', window=STEP, **CHOSEN)} > 0)",
            "{{instance}} throttled",
        ),
    ),
)
PRESSURE = TimeSeries(
    id=44,
    tint=Colour.INFO,
    title="Pressure",
    empty="none known: this system does not measure it",
    description="The share of the time in which anything on the machine (host), or in the cgroup, "
    "waits for a CPU, for memory to be reclaimed, or for a disk (pressure stall information).",
    unit="percentunit",
    queries=(
        Query(
            SYSTEM_PRESSURE.rate("instance", "scope", "resource", window=STEP, **CHOSEN),
            "{{instance}} {{scope}} {{resource}}",
        ),
    ),
)
THREADS = TimeSeries(
    id=45,
    tint=Colour.INFO,
    title="Threads",
    description="Threads of the operating system, threads of anyio's pool in use in the worker "
    "with most, their limit, and tasks that wait for one. At the limit every endpoint without "
    "async waits.",
    unit="short",
    overrides=(limit_line("limit of the pool"),),
    queries=(
        Query(PROCESS_THREADS.sum("instance", **CHOSEN), "{{instance}} threads"),
        Query(THREAD_POOL_USED.max("instance", **CHOSEN), "{{instance}} pool, in use"),
        Query(THREAD_POOL_WAITING.sum("instance", **CHOSEN), "{{instance}} waiting"),
        Query(
            THREAD_POOL_WAIT.rate("instance", window=STEP, **CHOSEN), "{{instance}} waiting, mean"
        ),
        Query(f"min({THREAD_POOL_LIMIT.select(**CHOSEN)})", "limit of the pool"),
    ),
)
POOLS_LEFT = TimeSeries(
    id=39,
    title="Time until a pool is used up",
    empty="none: no pool leaks connections",
    description="When no connection of a pool will be left, if more and more of them stay in use "
    "as in the last three minutes.",
    unit="s",
    width=12,
    limits=True,
    steps=falling(600, 3600),
    queries=(
        Query(SECONDS_LEFT.select(**CHOSEN, resource=matching("connections of .*")), _RESOURCE),
    ),
)
