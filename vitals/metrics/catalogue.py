"""Every metric of the kit, declared once.

Names follow the OpenTelemetry semantic conventions in their Prometheus form. Label values are
enumerated or limited in number; none holds a path, a literal or text that a client chose.
"""

from typing import NamedTuple

from vitals.metrics.declarations import AnyMetric, Counter, Gauge, Histogram, NoLabels

OTHER = "__other__"
"""Label value of the series that collects everything beyond a metric's limit."""

REQUEST_SECONDS = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
QUERY_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
CACHE_SECONDS = (0.0001, 0.00025, 0.0005, *QUERY_SECONDS)
LONG_SECONDS = (*REQUEST_SECONDS, 60.0, 300.0, 1800.0)
BODY_BYTES = tuple(float(256 * 4**power) for power in range(9))  # 256 B to 16 MiB


# -- HTTP ------------------------------------------------------------------------------------


class RequestLabels(NamedTuple):
    """Labels of a finished request. ``http_route`` is the route template, empty if none matched.

    ``url_scheme`` is ``http``, ``https`` or ``_OTHER``.
    """

    http_request_method: str
    http_route: str
    http_response_status_code: str
    error_type: str
    url_scheme: str = "http"


class MethodLabels(NamedTuple):
    """Labels of a request that is served: its method (of RFC 9110, or ``_OTHER``) and scheme."""

    http_request_method: str
    url_scheme: str = "http"


class BodyLabels(NamedTuple):
    """Labels of a transferred body."""

    http_request_method: str
    http_route: str
    url_scheme: str = "http"


class RouteLabels(NamedTuple):
    """The label of a route template."""

    http_route: str


class RoutePartLabels(NamedTuple):
    """Labels of a part of a route's requests, see ``vitals.asgi.request_times``."""

    http_route: str
    part: str


class WebSocketLabels(NamedTuple):
    """Labels of a finished WebSocket; the close code is that of RFC 6455, 7.4."""

    http_route: str
    websocket_close_code: str


class StreamLabels(NamedTuple):
    """Labels of a stream; ``error_type`` is empty if it ended by itself."""

    http_route: str
    error_type: str


class BackgroundTaskLabels(NamedTuple):
    """Labels of a background task; ``error_type`` is the class of what it raised, or empty."""

    http_route: str
    error_type: str


class ReasonLabels(NamedTuple):
    """The label of why something was refused or dropped: one of a few fixed words."""

    reason: str


HTTP_REQUEST_DURATION = Histogram(
    "http_server_request_duration_seconds",
    "Time from a request's arrival to the last byte of its response; of a stream, to its first "
    "byte. Each latency objective's threshold is a bucket bound.",
    RequestLabels,
    REQUEST_SECONDS,
)
HTTP_REQUEST_TIME = Counter(
    "http_server_request_time_seconds_total",
    "Time that requests of a route spent in each part; all parts but queue, which is before the "
    "request arrives, add up to the requests' duration.",
    RoutePartLabels,
)
HTTP_ACTIVE_REQUESTS = Gauge(
    "http_server_active_requests",
    "Requests in progress: neither answered completely nor open streams.",
    MethodLabels,
)
HTTP_STREAM_DURATION = Histogram(
    "http_server_stream_duration_seconds",
    "Time from the arrival of a stream's request to its end: event streams, responses in parts, "
    "long polls.",
    StreamLabels,
    LONG_SECONDS,
)
HTTP_ACTIVE_STREAMS = Gauge("http_server_active_streams", "Open streams.", NoLabels)
HTTP_BACKGROUND_DURATION = Histogram(
    "http_server_background_task_duration_seconds",
    "Time a background task ran: a framework's after the response, and tasks that outlive their "
    "request.",
    BackgroundTaskLabels,
    LONG_SECONDS,
)
HTTP_ACTIVE_BACKGROUND_TASKS = Gauge(
    "http_server_active_background_tasks",
    "Background tasks that run, by the route that started them.",
    RouteLabels,
)
HTTP_REQUEST_BODY_SIZE = Histogram(
    "http_server_request_body_size_bytes",
    "Bytes of request bodies that the application read (counted, not Content-Length).",
    BodyLabels,
    BODY_BYTES,
)
HTTP_RESPONSE_BODY_SIZE = Histogram(
    "http_server_response_body_size_bytes",
    "Bytes of response bodies sent (counted, not Content-Length).",
    BodyLabels,
    BODY_BYTES,
)
HTTP_REQUESTS_REFUSED = Counter(
    "http_server_requests_refused_total",
    "Requests whose body was refused: length, encoding, syntax, number, duplicate_key, depth, "
    "media_type, too_large or too_slow.",
    ReasonLabels,
)
HTTP_CONNECTIONS_REFUSED = Counter(
    "http_server_connections_refused_total",
    "Connections that the server refused or ended: head_too_slow, head_too_large, malformed, "
    "connect, too_many_connections, too_many_pipelined, body_unread or response_unread.",
    ReasonLabels,
)
HTTP_WEBSOCKET_DURATION = Histogram(
    "http_server_websocket_duration_seconds",
    "Time a WebSocket stayed open.",
    WebSocketLabels,
    LONG_SECONDS,
)
HTTP_ACTIVE_WEBSOCKETS = Gauge("http_server_active_websockets", "Open WebSockets.", NoLabels)

# -- HTTP clients ----------------------------------------------------------------------------


class ClientRequestLabels(NamedTuple):
    """Labels of an outgoing request; the number of servers is limited.

    The status is empty where no response arrived. ``error_type`` is the class of what failed, or
    the status from 400 on.
    """

    http_request_method: str
    server_address: str
    server_port: str
    http_response_status_code: str
    error_type: str


class ServerLabels(NamedTuple):
    """Labels of a server that requests are sent to."""

    server_address: str
    server_port: str


HTTP_CLIENT_REQUEST_DURATION = Histogram(
    "http_client_request_duration_seconds",
    "Time from sending an outgoing request to the last byte of its response; of an event stream, "
    "to its first.",
    ClientRequestLabels,
    REQUEST_SECONDS,
)
HTTP_CLIENT_ACTIVE_REQUESTS = Gauge(
    "http_client_active_requests", "Outgoing requests in progress.", ServerLabels
)
HTTP_CLIENT_REQUESTS_PER_REQUEST = Histogram(
    "http_client_requests_per_request",
    "Outgoing requests that one request caused, of those that caused any.",
    RouteLabels,
    (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0),
)

# -- Objectives ------------------------------------------------------------------------------


class SloEventLabels(NamedTuple):
    """Labels of an event that an objective counts; ``outcome`` is ``good`` or ``bad``."""

    slo: str
    http_route: str
    outcome: str


class SloObjectiveLabels(NamedTuple):
    """Labels of an objective; ``http_route`` is empty for the whole service."""

    slo: str
    http_route: str


SLO_EVENTS = Counter(
    "slo_events_total", "Events that met (good) or missed (bad) an objective.", SloEventLabels
)
SLO_TARGET = Gauge(
    "slo_target_ratio",
    "Target: the share of events that should be good.",
    SloObjectiveLabels,
    multiprocess_mode="max",
)
SLO_THRESHOLD = Gauge(
    "slo_threshold_seconds",
    "Time within which an event is good, for latency objectives.",
    SloObjectiveLabels,
    multiprocess_mode="max",
)

# -- Database --------------------------------------------------------------------------------


class OperationLabels(NamedTuple):
    """Labels of a database operation; the number of fingerprints is limited."""

    db_system_name: str
    db_operation_name: str
    db_query_summary: str
    db_query_fingerprint: str
    error_type: str


class FingerprintLabels(NamedTuple):
    """Labels of a statement without its literals."""

    db_query_fingerprint: str


class RouteFingerprintLabels(NamedTuple):
    """Labels of a statement as one route sends it."""

    http_route: str
    db_query_fingerprint: str


class RouteStatementLabels(NamedTuple):
    """Labels of a statement as one route sends it; the number of sets is limited.

    ``site`` is its call site in the application, as ``orders/repository.py:57 in fetch``, or empty
    while that is unknown.
    """

    http_route: str
    db_query_summary: str
    db_query_fingerprint: str
    site: str


class PoolLabels(NamedTuple):
    """The label of a connection pool."""

    db_client_connection_pool_name: str


class PoolStateLabels(NamedTuple):
    """Labels of a connection pool's connections in one state, ``idle`` or ``used``."""

    db_client_connection_pool_name: str
    state: str


class PoolErrorLabels(NamedTuple):
    """Labels of a checkout that failed: the pool, and the class of the error."""

    db_client_connection_pool_name: str
    error_type: str


DB_OPERATION_DURATION = Histogram(
    "db_client_operation_duration_seconds",
    "Time a database operation took, waiting included.",
    OperationLabels,
    QUERY_SECONDS,
)
DB_SLOW_QUERIES = Counter(
    "db_client_slow_queries_total",
    "Operations slower than db_client_slow_query_threshold_seconds.",
    FingerprintLabels,
)
DB_SLOW_QUERY_THRESHOLD = Gauge(
    "db_client_slow_query_threshold_seconds",
    "Time above which a query is slow.",
    NoLabels,
    multiprocess_mode="max",
)
DB_QUERIES_PER_REQUEST = Histogram(
    "db_client_queries_per_request",
    "Database operations that one request caused.",
    RouteLabels,
    (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0),
)
DB_BACKGROUND_QUERIES = Counter(
    "db_client_background_queries_total",
    "Database operations of background tasks, by the route that started them.",
    RouteLabels,
)
DB_N_PLUS_ONE = Counter(
    "db_client_n_plus_one_total",
    "Requests that sent the same statement once per row (N+1).",
    RouteFingerprintLabels,
)
DB_STATEMENT_SECONDS = Counter(
    "db_client_statement_seconds_total",
    "Time that requests of a route spent in a statement, with the line that sends it; of the "
    "costliest pairs.",
    RouteStatementLabels,
)
DB_CONNECTION_COUNT = Gauge(
    "db_client_connection_count",
    "Connections of the pool by state, without those that the server has ended.",
    PoolStateLabels,
)
DB_CONNECTION_MAX = Gauge(
    "db_client_connection_max", "Connections the pool may open, overflow included.", PoolLabels
)
DB_CONNECTION_PENDING = Gauge(
    "db_client_connection_pending_requests", "Callers waiting for a connection.", PoolLabels
)
DB_CONNECTION_TIMEOUTS = Counter(
    "db_client_connection_timeouts_total",
    "Callers that timed out waiting for a connection.",
    PoolLabels,
)
DB_CONNECTION_ERRORS = Counter(
    "db_client_connection_errors_total",
    "Callers that got no connection because none could be opened, or that were cancelled.",
    PoolErrorLabels,
)
DB_CONNECTION_WAIT = Histogram(
    "db_client_connection_wait_time_seconds",
    "Time to get a connection from the pool.",
    PoolLabels,
    CACHE_SECONDS,
)
DB_CONNECTION_CREATE = Histogram(
    "db_client_connection_create_time_seconds",
    "Time to open a connection.",
    PoolLabels,
    QUERY_SECONDS,
)
DB_CONNECTION_USE = Histogram(
    "db_client_connection_use_time_seconds",
    "Time a connection was checked out of the pool.",
    PoolLabels,
    (*QUERY_SECONDS, 60.0),
)


class DatabaseLabels(NamedTuple):
    """The label of a database: its name, with the server's address where names are equal."""

    db_namespace: str


class LockBlockerLabels(NamedTuple):
    """Labels of a session that makes others wait for its locks; the number of sets is limited.

    ``db_query_summary`` is that of its last statement, or says which right is missing.
    """

    db_namespace: str
    application: str
    state: str
    db_query_summary: str


class LockWaitLabels(NamedTuple):
    """Labels of who waits for whom; ``waiting_query_summary`` is the statement that waits."""

    db_namespace: str
    application: str
    state: str
    db_query_summary: str
    waiting_query_summary: str


DB_LOCK_SAMPLE_TIME = Gauge(
    "db_lock_sample_time_seconds",
    "Unix time when lock waits were last read; one process of a service reads them.",
    DatabaseLabels,
    multiprocess_mode="max",
)
DB_LOCK_WAITING = Gauge(
    "db_lock_waiting_sessions",
    "Sessions of the database that wait for a lock of another, advisory locks left out.",
    DatabaseLabels,
    multiprocess_mode="max",
)
DB_LOCK_BLOCKED = Gauge(
    "db_lock_blocked_sessions",
    "Sessions that wait for this one, directly or behind another.",
    LockBlockerLabels,
    multiprocess_mode="max",
)
DB_LOCK_BLOCKING = Gauge(
    "db_lock_blocking_seconds",
    "Time since this transaction first made others wait; 0 when it has ended.",
    LockBlockerLabels,
    multiprocess_mode="max",
)
DB_LOCK_TRANSACTION = Gauge(
    "db_lock_transaction_seconds",
    "Age of the transaction that makes others wait; no series where it is not known.",
    LockBlockerLabels,
    multiprocess_mode="max",
)
DB_LOCK_BLOCKER_PID = Gauge(
    "db_lock_blocker_pid",
    "PID of the session that makes others wait, 0 when it does not or for a prepared transaction.",
    LockBlockerLabels,
    multiprocess_mode="max",
)
DB_LOCK_WAIT = Gauge(
    "db_lock_wait_seconds",
    "Longest wait so far of the sessions that wait now.",
    LockWaitLabels,
    multiprocess_mode="max",
)

# -- Cache -----------------------------------------------------------------------------------


class CacheRequestLabels(NamedTuple):
    """Labels of a lookup; layer is l1 or l2, result hit, miss, stale, negative, error or bypass."""

    cache: str
    layer: str
    result: str


class CacheOperationLabels(NamedTuple):
    """Labels of a command to the cache's store."""

    cache: str
    operation: str


CACHE_REFUSALS = (
    *("OOM", "READONLY", "MISCONF", "NOREPLICAS", "NOPERM", "NOAUTH", "WRONGPASS"),
    *("LOADING", "MASTERDOWN", "CLUSTERDOWN", "BUSY"),
)
"""Error types of commands that Redis refuses for now, by the code of its reply: it has no memory
left, is a replica, cannot write its snapshot, misses replicas or a right, wants a password, or is
not ready."""


class CacheErrorLabels(NamedTuple):
    """Labels of a command to the cache's store that failed.

    The operation is ``connect`` for an attempt to connect. The error type is one of
    ``CACHE_REFUSALS``, or else the class of the exception.
    """

    cache: str
    operation: str
    error_type: str


class CacheLabels(NamedTuple):
    """The label of a cache: its name."""

    cache: str


class CacheStoreLabels(NamedTuple):
    """A cache and the address of its store, ``HOST:PORT``; empty where it is none or several."""

    cache: str
    server_address: str


class CacheRefusalLabels(NamedTuple):
    """Labels of a refused entry; reason is schema, corrupt or too_large."""

    cache: str
    reason: str


class CacheInvalidationLabels(NamedTuple):
    """Labels of an invalidation; outcome is ok, queued or failed."""

    cache: str
    outcome: str


CACHE_REQUESTS = Counter("cache_requests_total", "Lookups by layer and result.", CacheRequestLabels)
CACHE_OPERATION_DURATION = Histogram(
    "cache_operation_duration_seconds",
    "Time a command to the cache's store took.",
    CacheOperationLabels,
    CACHE_SECONDS,
)
CACHE_OPERATION_ERRORS = Counter(
    "cache_operation_errors_total",
    "Commands to the cache's store that failed or were cancelled.",
    CacheErrorLabels,
)
CACHE_LOAD_DURATION = Histogram(
    "cache_load_duration_seconds",
    "Time to load a value that the cache did not hold.",
    CacheLabels,
    CACHE_SECONDS,
)
CACHE_FILLS_REJECTED = Counter(
    "cache_fills_rejected_total",
    "Loaded values not stored because they were invalidated during the load.",
    CacheLabels,
)
CACHE_ENTRIES_REFUSED = Counter(
    "cache_entries_refused_total",
    "Entries treated as a miss, or values not stored, because they were invalid.",
    CacheRefusalLabels,
)
CACHE_INVALIDATIONS = Counter(
    "cache_invalidations_total", "Invalidations by outcome.", CacheInvalidationLabels
)
CACHE_BREAKER_OPEN = Gauge(
    "cache_breaker_open",
    "1 while the circuit breaker of the cache's store is open.",
    CacheStoreLabels,
    multiprocess_mode="max",
)
CACHE_L1_BYTES = Gauge("cache_l1_bytes", "Bytes that the in-process layer holds.", CacheLabels)
CACHE_BUS_CONNECTED = Gauge(
    "cache_bus_connected",
    "1 while subscribed to the invalidations of other processes.",
    CacheLabels,
    multiprocess_mode="min",
)

# -- Runtime ---------------------------------------------------------------------------------


class TargetLabels(NamedTuple):
    """Attributes of the resource; a dot is an underscore, one that is not set is empty."""

    service_name: str
    service_namespace: str
    service_version: str
    service_instance_id: str
    deployment_environment_name: str


class BuildLabels(NamedTuple):
    """Labels of the version that runs."""

    version: str
    revision: str


class GenerationLabels(NamedTuple):
    """The label of a generation of the garbage collector."""

    generation: str


class PythonLabels(NamedTuple):
    """Labels of the interpreter."""

    version: str
    implementation: str
    major: str
    minor: str
    patchlevel: str


class GrowthLabels(NamedTuple):
    """Labels of a line of the application, ``module:function:line``, and the type it allocates.

    The number of sets is limited; further ones are ``__other__``.
    """

    site: str
    type: str


class SiteLabels(NamedTuple):
    """Labels of a line of the application: ``module:function:line``, and the route it served.

    The number of sets is limited; further ones are ``__other__``.
    """

    site: str
    http_route: str


LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
EVENT_LOOP_LAG = Histogram(
    "asyncio_event_loop_lag_seconds",
    "Delay of timers on the event loop; any request may have to wait as long.",
    NoLabels,
    LAG_SECONDS,
)
EVENT_LOOP_BLOCKED = Histogram(
    "asyncio_event_loop_blocked_seconds",
    "Delay of timers on the event loop, without what its thread waited for a CPU: what code on the "
    "loop causes. Linux only.",
    NoLabels,
    LAG_SECONDS,
)
EVENT_LOOP_CPU_WAIT = Counter(
    "asyncio_event_loop_cpu_wait_seconds_total",
    "Time that the event loop's thread was ready to run but waited for a CPU. Linux only.",
    NoLabels,
)
EVENT_LOOP_SITES = Counter(
    "asyncio_event_loop_blocking_site_seconds_total",
    "Time for which the event loop did not turn for longer than the threshold, without what its "
    "thread waited for a CPU, by the line of the application that blocked it, as "
    "module:function:line. Where no line did it is one of EVENT_LOOP_CAUSES.",
    SiteLabels,
)
EVENT_LOOP_CAUSES = GC, MANY_CALLBACKS, OTHER_THREADS, UNKNOWN = (
    "<garbage collection>",
    "<many callbacks>",
    "<other threads>",
    "<unknown>",
)
"""Sites that are no line: a collection; many callbacks within one turn, none of them long; threads
that held the interpreter's lock; what nothing is known of, such as a machine that was paused."""
BUILD_INFO = Gauge(
    "app_build_info",
    "1, with version and revision as labels.",
    BuildLabels,
    multiprocess_mode="max",
)
TARGET_INFO = Gauge(
    "target_info",
    "1, with the attributes of OpenTelemetry's resource that identify the service as labels.",
    TargetLabels,
    multiprocess_mode="max",
)
DROPPED = Counter(
    "vitals_dropped_total",
    "Values, series, log lines and other data dropped, by reason.",
    ReasonLabels,
)

WORKERS = Gauge("vitals_workers", "Worker processes whose metrics are merged.", NoLabels)
WORKERS_ENDED = Counter(
    "vitals_workers_ended_total",
    "Workers that ended while their server went on, by plan or not.",
    NoLabels,
)
WORKERS_CRASHED = Counter(
    "vitals_workers_crashed_total",
    "Workers that ended without having shut down: killed, or ended by an error.",
    NoLabels,
)

# Summed over all workers, unless stated otherwise.
PROCESS_CPU = Counter("process_cpu_seconds_total", "User and system CPU time.", NoLabels)
PROCESS_RESIDENT_MEMORY = Gauge("process_resident_memory_bytes", "Resident memory.", NoLabels)
PROCESS_VIRTUAL_MEMORY = Gauge("process_virtual_memory_bytes", "Virtual memory.", NoLabels)
PROCESS_START_TIME = Gauge(
    "process_start_time_seconds",
    "Start of the server, its workers' parent, as Unix time.",
    NoLabels,
    multiprocess_mode="min",
)
PLANNED_START_TIME = Gauge(
    "vitals_planned_start_time_seconds",
    "Last start of the server that followed a planned end, as Unix time; 0 if none is known.",
    NoLabels,
    multiprocess_mode="max",
)
PROCESS_OPEN_FDS = Gauge(
    "process_open_fds",
    "Open file descriptors of the worker with most.",
    NoLabels,
    multiprocess_mode="max",
)
PROCESS_MAX_FDS = Gauge(
    "process_max_fds",
    "Most file descriptors that a worker may open.",
    NoLabels,
    multiprocess_mode="max",
)
WORKER_RESIDENT_MEMORY = Gauge(
    "process_worker_resident_memory_max_bytes",
    "Resident memory of the worker with most.",
    NoLabels,
    multiprocess_mode="max",
)
WORKER_VIRTUAL_MEMORY = Gauge(
    "process_worker_virtual_memory_max_bytes",
    "Virtual memory of the worker with most.",
    NoLabels,
    multiprocess_mode="max",
)
PROCESS_MAX_VIRTUAL_MEMORY = Gauge(
    "process_virtual_memory_max_bytes",
    "Most virtual memory that a worker may have (RLIMIT_AS); absent without a limit.",
    NoLabels,
    multiprocess_mode="max",
)
PROCESS_THREADS = Gauge("process_threads", "Operating system threads.", NoLabels)
GC_COLLECTIONS = Counter(
    "python_gc_collections_total", "Garbage collections by generation.", GenerationLabels
)
GC_COLLECTED = Counter(
    "python_gc_objects_collected_total", "Objects freed by the garbage collector.", GenerationLabels
)
GC_UNCOLLECTABLE = Counter(
    "python_gc_objects_uncollectable_total",
    "Objects the collector could not free.",
    GenerationLabels,
)
PYTHON_INFO = Gauge(
    "python_info", "1, with the interpreter as labels.", PythonLabels, multiprocess_mode="max"
)

# -- Errors ----------------------------------------------------------------------------------


class ErrorLabels(NamedTuple):
    """Labels of an error: its fingerprint, its class, the route template if it has one, its place.

    The place is its innermost own frame, ``shop.orders:create``. At most 100 sets in each process,
    then ``__other__``; see ``vitals.errors``.
    """

    fingerprint: str
    type: str
    http_route: str
    place: str


ERRORS = Counter(
    "vitals_errors_total",
    "Exceptions that failed requests or background tasks or were logged as errors, each once.",
    ErrorLabels,
)

# -- Saturation ------------------------------------------------------------------------------
# Of the machine or the control group that the process is in; Linux only, each where it is known.
# What all workers of a server see alike is not summed.


class ScopeLabels(NamedTuple):
    """The label of what a limit holds for: ``host`` or ``cgroup``."""

    scope: str


class PressureLabels(NamedTuple):
    """Labels of pressure: of ``host`` or ``cgroup``, for ``cpu``, ``memory`` or ``io``."""

    scope: str
    resource: str


class FolderLabels(NamedTuple):
    """The label of a folder whose file system is measured: a name, no path."""

    folder: str


SYSTEM_PRESSURE = Counter(
    "system_pressure_waiting_seconds_total",
    "Time in which at least one task waited for a resource (pressure stall information).",
    PressureLabels,
    multiprocess_mode="max",
)
CGROUP_PERIODS = Counter(
    "cgroup_cpu_periods_total",
    "Periods of the CPU quota in which the control group wanted to run.",
    NoLabels,
    multiprocess_mode="max",
)
CGROUP_THROTTLED_PERIODS = Counter(
    "cgroup_cpu_throttled_periods_total",
    "Periods in which the control group used up its CPU quota and was throttled.",
    NoLabels,
    multiprocess_mode="max",
)
CGROUP_THROTTLED = Counter(
    "cgroup_cpu_throttled_seconds_total",
    "Time that threads of the control group were throttled by its CPU quota.",
    NoLabels,
    multiprocess_mode="max",
)
CGROUP_CPU_LIMIT = Gauge(
    "cgroup_cpu_limit_cores",
    "CPUs' time that the control group may use, by its quota.",
    NoLabels,
    multiprocess_mode="max",
)
SYSTEM_MEMORY_USAGE = Gauge(
    "system_memory_usage_bytes",
    "Memory in use, without what can be reclaimed, by what its limit holds for.",
    ScopeLabels,
    multiprocess_mode="max",
)
SYSTEM_MEMORY_LIMIT = Gauge(
    "system_memory_limit_bytes",
    "Memory that may be used: the machine's, or the limit of the control group.",
    ScopeLabels,
    multiprocess_mode="max",
)
CGROUP_TASKS = Gauge(
    "cgroup_tasks",
    "Processes and threads of the control group.",
    NoLabels,
    multiprocess_mode="max",
)
CGROUP_TASKS_LIMIT = Gauge(
    "cgroup_tasks_limit",
    "Processes and threads that the control group may have.",
    NoLabels,
    multiprocess_mode="max",
)
FILESYSTEM_USAGE = Gauge(
    "system_filesystem_usage_bytes",
    "Bytes of the folder's file system that are not available any more.",
    FolderLabels,
    multiprocess_mode="max",
)
FILESYSTEM_LIMIT = Gauge(
    "system_filesystem_limit_bytes",
    "Size of the folder's file system.",
    FolderLabels,
    multiprocess_mode="max",
)
THREAD_POOL_USED = Gauge(
    "anyio_worker_threads_used",
    "Threads of anyio's pool that run something, such as an endpoint without async; of the worker "
    "with most.",
    NoLabels,
    multiprocess_mode="max",
)
THREAD_POOL_LIMIT = Gauge(
    "anyio_worker_threads_limit",
    "Threads that anyio's pool may run at once.",
    NoLabels,
    multiprocess_mode="max",
)
THREAD_POOL_WAITING = Gauge(
    "anyio_worker_threads_pending_tasks", "Tasks that wait for a thread of anyio's pool.", NoLabels
)
THREAD_POOL_WAIT = Counter(
    "anyio_worker_threads_wait_seconds_total",
    "Time that tasks waited for a thread of anyio's pool, all of them together; sampled.",
    NoLabels,
)
THREAD_POOL_HOLDERS = Counter(
    "anyio_worker_threads_held_seconds_total",
    "Time for which threads of anyio's pool were held while tasks waited for one, by the line of "
    "the application that held them, as module:function:line; sampled.",
    SiteLabels,
)
MEMORY_GROWTH = Gauge(
    "python_memory_growth_bytes_per_second",
    "Memory that a line of the application allocated and kept per second, by the type that most of "
    "it was, as seen in the last look at a process whose memory grew.",
    GrowthLabels,
)
NOT_PYTHON = "<not in Python objects>"
"""Site of what a library in C allocated, or what is freed and not returned to the system."""

CATALOGUE: dict[str, AnyMetric] = {
    declared.name: declared
    for declared in tuple(globals().values())
    if isinstance(declared, Counter | Gauge | Histogram)
}
"""Every metric above by name."""
