"""Runtime board: CPU, memory, descriptors, event loop, garbage collection, instances."""

from dashboards.annotations import DEPLOYS, DOWN, FIRING
from dashboards.board import Board, Row
from dashboards.panels.panel import TimeSeries
from dashboards.panels.query import Query, instant_query, table_query
from dashboards.panels.stat_panels import Gauge, Stat
from dashboards.panels.table_panels import Table
from dashboards.sections import saturation
from dashboards.style import Colour, Step, column, limit_line, rising
from dashboards.variables import CHOSEN, INSTANCE, JOB, SOURCE, STEP
from rules.monitoring import UP
from rules.signal import defined
from vitals.metrics.catalogue import (
    BUILD_INFO,
    DROPPED,
    EVENT_LOOP_BLOCKED,
    EVENT_LOOP_LAG,
    EVENT_LOOP_SITES,
    GC_COLLECTIONS,
    GC_UNCOLLECTABLE,
    HTTP_ACTIVE_BACKGROUND_TASKS,
    HTTP_ACTIVE_REQUESTS,
    HTTP_ACTIVE_STREAMS,
    HTTP_ACTIVE_WEBSOCKETS,
    HTTP_BACKGROUND_DURATION,
    HTTP_CONNECTIONS_REFUSED,
    HTTP_REQUESTS_REFUSED,
    HTTP_STREAM_DURATION,
    PLANNED_START_TIME,
    PROCESS_CPU,
    PROCESS_MAX_FDS,
    PROCESS_OPEN_FDS,
    PROCESS_RESIDENT_MEMORY,
    PROCESS_START_TIME,
    SYSTEM_MEMORY_LIMIT,
    THREAD_POOL_HOLDERS,
    WORKER_RESIDENT_MEMORY,
    WORKERS,
    WORKERS_CRASHED,
)
from vitals.metrics.declarations import Gauge as GaugeMetric
from vitals.metrics.declarations import NoLabels, not_matching


def _starts(metric: GaugeMetric[NoLabels]) -> str:
    """How often a time of start rose within an hour: what it is below zero fell.

    Not `changes`: VictoriaMetrics counts the first sample of an instance too.
    """
    return f"resets((-{metric.select(**CHOSEN)})[1h:15s])"


RESTARTS = Stat(
    id=1,
    title="Restarts, 1 hour",
    description="How often instances were started within the last hour, without those that had "
    "been shut down on the same machine, as by a deployment. An instance that restarts again and "
    "again is crash-looping: see its log.",
    unit="short",
    decimals=0,
    width=6,
    steps=rising(1, 5),
    queries=(
        instant_query(
            f"sum({_starts(PROCESS_START_TIME)}) "
            f"- (sum({_starts(PLANNED_START_TIME)}) or vector(0))"
        ),
    ),
)
DESCRIPTORS = Gauge(
    id=2,
    title="File descriptors in use",
    description="The largest share of its file descriptors that any instance has open. At 100 % "
    "it can accept no connection.",
    unit="percentunit",
    width=6,
    height=4,
    steps=rising(0.7, 0.8),
    queries=(
        instant_query(
            f"max({PROCESS_OPEN_FDS.select(**CHOSEN)} / {PROCESS_MAX_FDS.select(**CHOSEN)})"
        ),
    ),
)
DROPS = Stat(
    id=3,
    title="Telemetry dropped, 1 hour",
    description="Telemetry that the kit dropped within the last hour to stay within its limits: "
    "series beyond a limit, spans beyond a queue. Metrics and traces are incomplete by that much.",
    unit="short",
    decimals=0,
    width=6,
    steps=(Step(Colour.GOOD), Step(Colour.WARNING, 1)),
    queries=(instant_query(f"{DROPPED.increase(window='1h', **CHOSEN)} or vector(0)"),),
)
UNCOLLECTABLE = Stat(
    id=4,
    title="Uncollectable objects, 1 hour",
    description="Objects that the garbage collector could not free within the last hour: a leak "
    "that only a restart clears.",
    unit="short",
    decimals=0,
    width=6,
    steps=(Step(Colour.GOOD), Step(Colour.WARNING, 1)),
    queries=(instant_query(GC_UNCOLLECTABLE.increase(window="1h", **CHOSEN)),),
)
LAG = TimeSeries(
    id=10,
    tint=Colour.INFO,
    title="Event loop lag",
    description="How late the event loop wakes, p50 and p99, and what of the p99 the code causes. "
    "Above 100 ms something blocks it, such as a computation, file access or a driver that is not "
    "asynchronous; the rest is time that its thread waits for a CPU.",
    unit="s",
    limits=True,
    steps=rising(0.05, 0.1),
    queries=(
        Query(
            defined(EVENT_LOOP_LAG.quantile(0.5, "instance", window=STEP, **CHOSEN)),
            "{{instance}} p50",
        ),
        Query(
            defined(EVENT_LOOP_LAG.quantile(0.99, "instance", window=STEP, **CHOSEN)),
            "{{instance}} p99",
        ),
        Query(
            defined(EVENT_LOOP_BLOCKED.quantile(0.99, "instance", window=STEP, **CHOSEN)),
            "{{instance}} p99 by code",
        ),
    ),
)
CPU = TimeSeries(
    id=11,
    tint=Colour.INFO,
    title="CPU cores",
    description="Cores in use, by instance. One interpreter uses one core: at 1 it is saturated, "
    "whatever the machine has left.",
    unit="short",
    limits=True,
    steps=rising(0.7, 0.9),
    queries=(Query(PROCESS_CPU.rate("instance", window=STEP, **CHOSEN), "{{instance}}"),),
)
MEMORY = TimeSeries(
    id=12,
    tint=Colour.INFO,
    title="Resident memory",
    description="Resident memory, by instance, that of its largest worker, and the limit of its "
    "cgroup, if it has one. A line that only ever rises is a leak.",
    unit="bytes",
    overrides=(limit_line("limit of the cgroup"),),
    queries=(
        Query(PROCESS_RESIDENT_MEMORY.sum("instance", **CHOSEN), "{{instance}}"),
        Query(WORKER_RESIDENT_MEMORY.max("instance", **CHOSEN), "{{instance}} largest worker"),
        Query(
            f"min({SYSTEM_MEMORY_LIMIT.select(**CHOSEN, scope='cgroup')})", "limit of the cgroup"
        ),
    ),
)
ACTIVE = TimeSeries(
    id=13,
    tint=Colour.INFO,
    title="In flight",
    description="Requests in progress, open streams and WebSockets, and background tasks that run, "
    "by instance.",
    unit="short",
    queries=(
        Query(HTTP_ACTIVE_REQUESTS.sum("instance", **CHOSEN), "{{instance}} requests"),
        Query(HTTP_ACTIVE_STREAMS.sum("instance", **CHOSEN), "{{instance}} streams"),
        Query(HTTP_ACTIVE_WEBSOCKETS.sum("instance", **CHOSEN), "{{instance}} WebSockets"),
        Query(HTTP_ACTIVE_BACKGROUND_TASKS.sum("instance", **CHOSEN), "{{instance}} background"),
    ),
)
GARBAGE = TimeSeries(
    id=14,
    title="Garbage collections",
    description="Collections per second by generation. Frequent collections of generation 2 pause "
    "every request.",
    unit="ops",
    queries=(
        Query(
            GC_COLLECTIONS.rate("generation", window=STEP, **CHOSEN),
            "generation {{generation}}",
        ),
    ),
)
REASONS = TimeSeries(
    id=15,
    title="Telemetry dropped",
    empty="none recorded",
    width=12,
    description="Telemetry that the kit dropped, per second and by reason.",
    unit="ops",
    queries=(Query(DROPPED.rate("reason", window=STEP, **CHOSEN), "{{reason}}"),),
)
WORKERS_ANSWERING = TimeSeries(
    id=16,
    tint=Colour.INFO,
    title="Workers",
    description="Running worker processes, by instance, and how many crashed within the last hour: "
    "exited without having been shut down, as recycled ones are. Fewer than were started, or a "
    "crash: see the log.",
    unit="short",
    decimals=0,
    queries=(
        Query(WORKERS.sum("instance", **CHOSEN), "{{instance}}"),
        Query(
            f"{WORKERS_CRASHED.increase('instance', window='1h', **CHOSEN)} > 0",
            "{{instance}} crashed, 1 hour",
        ),
    ),
)
REFUSED = TimeSeries(
    id=17,
    title="Refused requests and connections",
    empty="none recorded",
    width=12,
    description="Requests per second refused by body validation, and connections that the server "
    "refused or closed, by reason. The cause is a newly released client or an attack.",
    unit="reqps",
    queries=(
        Query(f"{HTTP_REQUESTS_REFUSED.rate('reason', window=STEP, **CHOSEN)} > 0", "{{reason}}"),
        Query(
            f"{HTTP_CONNECTIONS_REFUSED.rate('reason', window=STEP, **CHOSEN)} > 0",
            "connection: {{reason}}",
        ),
    ),
)
STREAMS = TimeSeries(
    id=21,
    title="Time streams were open",
    empty="none recorded",
    tint=Colour.INFO,
    description="How long streams and long polls were open (p95), by route, as they ended. Their "
    "latency, to the first byte, is that of requests.",
    unit="s",
    queries=(
        Query(
            defined(HTTP_STREAM_DURATION.quantile(0.95, "http_route", window=STEP, **CHOSEN)),
            "{{http_route}}",
        ),
    ),
)
BACKGROUND_TASKS = TimeSeries(
    id=22,
    title="Duration of background tasks",
    empty="none recorded",
    tint=Colour.INFO,
    description="How long background tasks ran (p95), by the route that started them, as they "
    "ended.",
    unit="s",
    queries=(
        Query(
            defined(HTTP_BACKGROUND_DURATION.quantile(0.95, "http_route", window=STEP, **CHOSEN)),
            "{{http_route}}",
        ),
    ),
)
FAILED_TASKS = TimeSeries(
    id=23,
    title="Failed background tasks",
    empty="none recorded",
    description="Background tasks per second that failed, by route and error. Their requests were "
    "answered before, so no other figure shows them; cancelled ones are not counted.",
    unit="ops",
    queries=(
        Query(
            HTTP_BACKGROUND_DURATION.rate(
                "http_route",
                "error_type",
                window=STEP,
                error_type=not_matching("|CancelledError"),
                **CHOSEN,
            )
            + " > 0",
            "{{http_route}} {{error_type}}",
        ),
    ),
)
INSTANCES = Table(
    id=20,
    title="Instances",
    description="Each instance with its version, its start time, and whether its last scrape "
    "succeeded.",
    unit="short",
    width=24,
    height=7,
    queries=(
        table_query(
            f"{BUILD_INFO.max('instance', 'version', 'revision', **CHOSEN)} * on (instance) "
            f"group_left () {PROCESS_START_TIME.max('instance', **CHOSEN)} * 1000"
        ),
        table_query(UP.max("instance", **CHOSEN)),
    ),
    columns={
        "instance": "Instance",
        "version": "Version",
        "revision": "Revision",
        "Value #A": "Started",
        "Value #B": "Up",
    },
    sort=(("Instance", False),),
    overrides=(
        column("Started", "dateTimeFromNow", width=160),
        column("Up", words={"1": ("up", Colour.GOOD), "0": ("down", Colour.BAD)}, width=80),
    ),
)

BLOCKING = Table(
    id=24,
    title="Lines that block the event loop",
    empty="none within the hour",
    description="Time for which the event loop did not turn within the last hour, by the line of "
    "the application that blocked it and the route that it served. In angle brackets is what no "
    "line did: garbage collections, many callbacks in one turn, other threads.",
    unit="s",
    queries=(
        table_query(
            "topk(20, "
            + EVENT_LOOP_SITES.increase("site", "http_route", window="1h", **CHOSEN)
            + " > 0)"
        ),
    ),
    columns={"site": "Line", "http_route": "Route", "Value": "Blocked"},
    sort=(("Blocked", True),),
    overrides=(column("Blocked", "s", width=110),),
)
HOLDERS = Table(
    id=25,
    title="Lines that hold worker threads",
    empty="none: no task waited for a thread within the hour",
    description="Time for which threads of anyio's pool were held within the last hour while tasks "
    "waited for one, by the line of the application that held them and the route that it served.",
    unit="s",
    queries=(
        table_query(
            "topk(20, "
            + THREAD_POOL_HOLDERS.increase("site", "http_route", window="1h", **CHOSEN)
            + " > 0)"
        ),
    ),
    columns={"site": "Line", "http_route": "Route", "Value": "Held"},
    sort=(("Held", True),),
    overrides=(column("Held", "s", width=110),),
)

BOARD = Board(
    uid="svc-runtime",
    title="Runtime",
    description="How are the processes: CPU, memory, event loop, garbage collection; which "
    "versions run since when?",
    variables=(SOURCE, JOB, INSTANCE),
    annotations=(DEPLOYS, DOWN, FIRING),
    rows=(
        Row((RESTARTS, DESCRIPTORS, DROPS, UNCOLLECTABLE)),
        Row((LAG, CPU, MEMORY)),
        Row((BLOCKING, HOLDERS)),
        Row((saturation.USE, saturation.TIME_LEFT)),
        Row((saturation.CPU, saturation.PRESSURE, saturation.THREADS)),
        Row((ACTIVE, WORKERS_ANSWERING, GARBAGE)),
        Row((STREAMS, BACKGROUND_TASKS, FAILED_TASKS)),
        Row((REASONS, REFUSED)),
        Row((INSTANCES,)),
        Row((saturation.LIMITS,)),
    ),
)
