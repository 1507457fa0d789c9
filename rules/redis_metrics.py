"""Declarations of the metrics of the reader of Redis (``stack/redis_reader``).

Bounded: of what a server may have any number of (commands, errors, databases, replicas), so many
have series of their own, and ``__other__`` has the rest. What is not known has no series. No metric
of redis_exporter begins with ``redis_server_``.
"""

from typing import NamedTuple

from rules.postgres_metrics import PartLabels
from vitals.metrics.declarations import Counter, Gauge, NoLabels


class RedisLabels(NamedTuple):
    """The server: ``redis`` or ``valkey``, its version, role, mode and what it evicts."""

    software: str
    version: str
    role: str
    mode: str
    maxmemory_policy: str


class RedisAddressLabels(NamedTuple):
    """The address of the server, ``HOST:PORT``, as the caches of a service have it too."""

    server_address: str


class KeyspaceLabels(NamedTuple):
    """The number of a database."""

    db_namespace: str


class CommandLabels(NamedTuple):
    """A command in lower case, such as ``hget`` or ``config|get``."""

    command: str


class RedisErrorLabels(NamedTuple):
    """The first word of an error, such as ``OOM`` or ``WRONGTYPE``."""

    error: str


class SlowCommandLabels(NamedTuple):
    """A command of the slow log, how many arguments it had, and the name of its client."""

    command: str
    arguments: str
    client: str


class ReplicaLabels(NamedTuple):
    """The address of a replica: ``HOST:PORT``."""

    replica: str


class CpuLabels(NamedTuple):
    """``user`` or ``system``, of the server and its children."""

    mode: str


# -- The reading itself --------------------------------------------------------------------

REDIS_UP = Gauge(
    "redis_server_up", "1 where Redis answered the reader within 30 seconds.", RedisAddressLabels
)
REDIS_INFO = Gauge("redis_server_info", "1; its labels describe the server.", RedisLabels)
REDIS_READ_SECONDS = Gauge("redis_server_read_seconds", "Duration of the last reading.", NoLabels)
REDIS_READ_FAILURES = Counter(
    "redis_server_read_failures_total",
    "Parts that could not be read, such as for a missing right; connect: there was no connection.",
    PartLabels,
)
REDIS_PART_READ = Gauge(
    "redis_server_part_read",
    "1 where the last reading of a part succeeded; where 0, nothing is known of it.",
    PartLabels,
)
REDIS_PING_SECONDS = Gauge(
    "redis_server_ping_seconds",
    "Time of a PING of the reader on its open connection: what any command waits for at least.",
    NoLabels,
)
REDIS_STARTED = Gauge(
    "redis_server_start_time_seconds", "Time of the server's start, as Unix time.", NoLabels
)
REDIS_LOADING = Gauge(
    "redis_server_loading", "1 while the server loads its data and answers nothing.", NoLabels
)

# -- Clients -------------------------------------------------------------------------------

REDIS_CLIENTS = Gauge("redis_server_clients", "Connections of clients.", NoLabels)
REDIS_CLIENTS_LIMIT = Gauge("redis_server_clients_limit", "maxclients; from 7.0 on.", NoLabels)
REDIS_BLOCKED_CLIENTS = Gauge(
    "redis_server_blocked_clients",
    "Clients in a blocking command, such as BLPOP, that waits for data.",
    NoLabels,
)
REDIS_CONNECTIONS = Counter("redis_server_connections_total", "Connections accepted.", NoLabels)
REDIS_REJECTED = Counter(
    "redis_server_rejected_connections_total",
    "Connections refused, as maxclients was reached.",
    NoLabels,
)

# -- Memory and keys -----------------------------------------------------------------------

REDIS_MEMORY = Gauge("redis_server_memory_bytes", "Memory that the allocator gave out.", NoLabels)
REDIS_MEMORY_RSS = Gauge(
    "redis_server_memory_rss_bytes", "Memory of the process, as the system sees it.", NoLabels
)
REDIS_MEMORY_LIMIT = Gauge(
    "redis_server_memory_limit_bytes", "maxmemory; absent without one.", NoLabels
)
REDIS_SYSTEM_MEMORY = Gauge(
    "redis_server_system_memory_bytes", "Memory of the machine, not of a container.", NoLabels
)
REDIS_FRAGMENTATION = Gauge(
    "redis_server_fragmentation_ratio",
    "Memory of the process per memory given out; below 1, some is swapped out.",
    NoLabels,
)
REDIS_KEYS = Gauge("redis_server_keys", "Keys of a database.", KeyspaceLabels)
REDIS_KEYS_EXPIRING = Gauge("redis_server_expiring_keys", "Those with a TTL.", KeyspaceLabels)
REDIS_EXPIRED = Counter("redis_server_expired_keys_total", "Keys whose TTL ended.", NoLabels)
REDIS_EVICTED = Counter(
    "redis_server_evicted_keys_total", "Keys removed to stay within maxmemory.", NoLabels
)
REDIS_HITS = Counter("redis_server_hits_total", "Lookups of keys that were there.", NoLabels)
REDIS_MISSES = Counter("redis_server_misses_total", "Lookups of keys that were not.", NoLabels)

# -- Commands ------------------------------------------------------------------------------

REDIS_COMMAND_SECONDS = Counter(
    "redis_server_command_seconds_total",
    "Time spent in a command, of all clients, without the time that it was blocked.",
    CommandLabels,
)
REDIS_COMMAND_CALLS = Counter(
    "redis_server_command_calls_total", "Executions of a command.", CommandLabels
)
REDIS_COMMAND_FAILED = Counter(
    "redis_server_command_failures_total", "Those that failed; from 6.2 on.", CommandLabels
)
REDIS_COMMAND_REJECTED = Counter(
    "redis_server_command_rejections_total",
    "Commands that were not executed, as for a wrong number of arguments or a missing right.",
    CommandLabels,
)
REDIS_ERRORS = Counter("redis_server_errors_total", "Errors that were sent.", RedisErrorLabels)
REDIS_SLOW = Counter(
    "redis_server_slow_commands_total",
    "Commands that took longer than slowlog-log-slower-than.",
    CommandLabels,
)
REDIS_SLOW_SECONDS = Gauge(
    "redis_server_slow_command_seconds",
    "The longest of the slow log within ten minutes, ten kinds of commands, without arguments.",
    SlowCommandLabels,
)
REDIS_RECEIVED = Counter("redis_server_received_bytes_total", "Bytes of clients.", NoLabels)
REDIS_SENT = Counter("redis_server_sent_bytes_total", "Bytes to clients.", NoLabels)
REDIS_CPU = Counter("redis_server_cpu_seconds_total", "CPU time.", CpuLabels)

# -- Persistence ---------------------------------------------------------------------------

REDIS_SAVED = Gauge(
    "redis_server_save_time_seconds",
    "Time of the last successful save, as Unix time; absent where none was tried since the start.",
    NoLabels,
)
REDIS_SAVE_OK = Gauge("redis_server_save_ok", "1 unless the last save failed.", NoLabels)
REDIS_SAVE_SECONDS = Gauge(
    "redis_server_save_seconds", "Duration of the last save; absent without one.", NoLabels
)
REDIS_UNSAVED = Gauge(
    "redis_server_unsaved_changes", "Changes since the last save, or the start.", NoLabels
)
REDIS_AOF = Gauge("redis_server_aof_enabled", "1 where changes are appended to a file.", NoLabels)
REDIS_AOF_OK = Gauge(
    "redis_server_aof_ok",
    "1 unless the last write to that file, or its last rewrite, failed; absent without one.",
    NoLabels,
)
REDIS_AOF_BYTES = Gauge("redis_server_aof_bytes", "Size of that file.", NoLabels)
REDIS_FORK_SECONDS = Gauge(
    "redis_server_fork_seconds", "Duration of the last fork, which holds up all clients.", NoLabels
)

# -- Replication ---------------------------------------------------------------------------

REDIS_REPLICAS = Gauge("redis_server_replicas", "Replicas that are connected.", NoLabels)
REDIS_LAG_BYTES = Gauge(
    "redis_server_replica_lag_bytes", "Bytes that a replica has not confirmed.", ReplicaLabels
)
REDIS_LAG_SECONDS = Gauge(
    "redis_server_replica_lag_seconds",
    "Seconds since a replica last confirmed; it does so each second.",
    ReplicaLabels,
)
REDIS_LINK_UP = Gauge(
    "redis_server_link_up", "On a replica: 1 while it is connected to its primary.", NoLabels
)
REDIS_LINK_SILENT = Gauge(
    "redis_server_link_silent_seconds",
    "On a replica: seconds since its primary last sent, or since the link is down.",
    NoLabels,
)
