"""Recording rules of saturation: how full limited resources are, and when a leak will fill them.

The forecast is robust: it extrapolates the lower of the rates of two windows, so that a step, a
warm-up that slows down or a heap that is collected is no leak, and only what exceeds the resource's
recent peaks, so that a saw-tooth is none either. Peaks from before a restart do not count: a leak
that was restarted away comes back. Reasons and trials: docs/decisions/0027.
"""

from rules.datastores import POOL_USE
from rules.monitoring import UP
from rules.signal import Signal, defined
from rules.watched import WATCHED
from vitals.metrics.catalogue import (
    CGROUP_TASKS,
    CGROUP_TASKS_LIMIT,
    CGROUP_THROTTLED,
    EVENT_LOOP_BLOCKED,
    EVENT_LOOP_CPU_WAIT,
    FILESYSTEM_LIMIT,
    FILESYSTEM_USAGE,
    PROCESS_MAX_FDS,
    PROCESS_MAX_VIRTUAL_MEMORY,
    PROCESS_OPEN_FDS,
    PROCESS_START_TIME,
    SYSTEM_MEMORY_LIMIT,
    SYSTEM_MEMORY_USAGE,
    SYSTEM_PRESSURE,
    THREAD_POOL_LIMIT,
    THREAD_POOL_USED,
    WORKER_RESIDENT_MEMORY,
    WORKER_VIRTUAL_MEMORY,
    WORKERS,
)
from vitals.metrics.declarations import AnyMetric

# -- CPU ----------------------------------------------------------------------------------------

LOOP_BLOCKED_P99 = Signal(
    f"job_instance:{EVENT_LOOP_BLOCKED.name}:p99_5m",
    "How late does code make each event loop?",
    "s",
    defined(EVENT_LOOP_BLOCKED.quantile(0.99, "job", "instance")),
)
_WAITED = EVENT_LOOP_CPU_WAIT.rate("job", "instance")
CPU_WAIT = Signal(
    "job_instance:asyncio_event_loop_cpu_wait:ratio_rate5m",
    "What share of the time does each event loop wait for a CPU?",
    "percentunit",
    f"{_WAITED} / on (job, instance) ({WORKERS.sum('job', 'instance')} > 0) or {_WAITED}",
)
CPU_PRESSURE = Signal(
    "job_instance_scope:system_pressure_cpu_waiting:ratio_rate5m",
    "What share of the time does anything wait for a CPU of the host or cgroup?",
    "percentunit",
    SYSTEM_PRESSURE.rate("job", "instance", "scope", resource="cpu"),
)
CPU_THROTTLED = Signal(
    "job_instance:cgroup_cpu_throttled:rate5m",
    "How long are threads throttled by the CPU quota of their cgroup?",
    "percentunit",
    CGROUP_THROTTLED.rate("job", "instance"),
)

# -- Use of limits --------------------------------------------------------------------------------

ON = "(job, instance)"
LEAST_USE = 0.3
"""The share of a limit below which growth is no leak yet."""
YOUNG, YOUNG_USE, YOUNG_SECONDS = "15m", 0.5, 420
"""Without that much history, growth may be a warm-up or the first saw-tooth of many: then only this
share and this forecast are a leak."""
HORIZON, LONG_HORIZON = 3600, 24 * 3600
"""Seconds for which growth is extrapolated: more than that says nothing."""
BEYOND_PEAKS = 1.05
"""How far, as a factor, a leak exceeds the peaks before it."""


def _worst(metric: AnyMetric, window: str = "", label: str = "") -> str:
    """The greatest value by instance; with a window, the least of it: what stays in use."""
    by = ", ".join(filter(None, ("job", "instance", label)))
    series = f"min_over_time({metric.select('', window)})" if window else metric.select()
    return f"max by ({by}) ({series})"


def _named(query: str, name: str, label: str = "") -> str:
    """Name a resource in the label ``resource``; ``$1`` stands for the value of a label."""
    named = f'label_replace({query}, "resource", "{name}", "{label}", "(.*)")'
    return f"sum without ({label}) ({named})" if label else named


_POOL = "db_client_connection_pool_name"
_USES = (
    # Exporters without the kit have them too.
    _named(
        f"({_worst(PROCESS_OPEN_FDS)} / ({_worst(PROCESS_MAX_FDS)} < +Inf)) and on (job) {WATCHED}",
        "file descriptors",
    ),
    _named(
        f"{_worst(SYSTEM_MEMORY_USAGE, '', 'scope')} / {_worst(SYSTEM_MEMORY_LIMIT, '', 'scope')}",
        "$1 memory",
        "scope",
    ),
    _named(
        f"{_worst(WORKER_VIRTUAL_MEMORY)} / ({_worst(PROCESS_MAX_VIRTUAL_MEMORY)} < +Inf)",
        "address space",
    ),
    _named(
        f"{_worst(FILESYSTEM_USAGE, '', 'folder')} / {_worst(FILESYSTEM_LIMIT, '', 'folder')}",
        "disk space of $1",
        "folder",
    ),
    _named(f"{_worst(CGROUP_TASKS)} / {_worst(CGROUP_TASKS_LIMIT)}", "cgroup tasks"),
    # Those come and go with each request: what is in use all the time leaks. Not for 60 s: whether
    # a sample of just then counts differs between versions of Prometheus.
    _named(
        f"{_worst(THREAD_POOL_USED, '50s')} / ({_worst(THREAD_POOL_LIMIT)} < +Inf)",
        "worker threads",
    ),
    _named(f"min_over_time({POOL_USE}[50s])", "connections of pool $1", _POOL),
)
USE = Signal(
    "job_instance_resource:saturation:ratio",
    "What share of each limit is used? Where no limit is known, there is no answer.",
    "percentunit",
    " or ".join(_USES),
)

# Of a scrape target that was removed, nothing is held.
_GONE = f"(count_over_time({UP.select('', '10m')}) unless {UP.select()})"
HELD_USE = Signal(
    "job_instance_resource:saturation:last5m",
    "What share of each limit was used last? A failed scrape ends no warning.",
    "percentunit",
    f"last_over_time({USE}[5m]) unless on {ON} {_GONE}",
)


def _lower(first: str, second: str) -> str:
    """The lower of two values, where there are both."""
    return f"({first} <= {second} or {second} < {first})"


def _peak(long: str, short: str, offset: str, before: tuple[str, str]) -> str:
    """The peak before the offset, but not from before a restart; absent without history."""
    restarted = [f"changes({PROCESS_START_TIME.select('', window)}) > 0" for window in before]
    return (
        f"(max_over_time({USE}[{long}] offset {offset}) unless on {ON} {restarted[0]} "
        f"or max_over_time({USE}[{short}] offset {offset}) unless on {ON} {restarted[1]}) "
        f"and last_over_time({USE}[2m] offset {YOUNG})"
    )


GROWTH = Signal(
    "job_instance_resource:saturation:deriv3m",
    "How much more of each limit is used per second, steadily for three minutes?",
    "percentunit",
    f"{_lower(f'deriv({USE}[2m])', f'deriv({USE}[2m] offset 1m)')} "
    f"and last_over_time({USE}[1m] offset 165s)",
)
PEAK = Signal(
    "job_instance_resource:saturation:max1h",
    "What was the most of each limit that was used within the hour before?",
    "percentunit",
    _peak("1h", "10m", "5m", ("65m", "15m")),
)
LONG_GROWTH = Signal(
    "job_instance_resource:saturation:deriv1h",
    "How much more of each limit is used per second, steadily for an hour?",
    "percentunit",
    _lower(f"deriv({USE}[30m])", f"deriv({USE}[30m] offset 30m)"),
    long=True,
)
LONG_PEAK = Signal(
    "job_instance_resource:saturation:max1d",
    "What was the most of each limit that was used within the day before?",
    "percentunit",
    _peak("1d", "1h", "1h", ("25h", "2h")),
    long=True,
)


def _left(growth: Signal) -> str:
    return f"(1 - {HELD_USE}) / (last_over_time({growth}[5m]) > 0)"


def _beyond(peak: Signal) -> str:
    """Use that is no peak as there were before; none without history."""
    return (
        f"({HELD_USE} > {LEAST_USE} and {HELD_USE} > {BEYOND_PEAKS} * last_over_time({peak}[5m]))"
    )


SECONDS_LEFT = Signal(
    "job_instance_resource:saturation:seconds_left",
    "In how many seconds is each limit reached, if its use grows as in these three minutes?",
    "s",
    f"clamp_min(({_left(GROWTH)} < {HORIZON}) and {_beyond(PEAK)} "
    f"or ({_left(GROWTH)} < {YOUNG_SECONDS}) and ({HELD_USE} > {YOUNG_USE}) "
    f"unless last_over_time({PEAK}[5m]), 0)",
)
LONG_SECONDS_LEFT = Signal(
    "job_instance_resource:saturation:seconds_left_by_hour",
    "In how many seconds is each limit reached, if its use grows as in this hour?",
    "s",
    f"clamp_min(({_left(LONG_GROWTH)} < {LONG_HORIZON}) and {_beyond(LONG_PEAK)}, 0)",
    long=True,
)

# -- Memory without a near limit -----------------------------------------------------------------

_RSS = _worst(WORKER_RESIDENT_MEMORY)
RESIDENT = Signal(
    f"job_instance:{WORKER_RESIDENT_MEMORY.name}:max",
    "How much memory does the largest worker of each instance use?",
    "bytes",
    _RSS,
)
RESIDENT_GROWTH = Signal(
    f"job_instance:{WORKER_RESIDENT_MEMORY.name}:deriv3m",
    "How many bytes more does it use per second, steadily for three minutes?",
    "Bps",
    _lower(f"deriv({RESIDENT}[2m])", f"deriv({RESIDENT}[2m] offset 1m)"),
)
