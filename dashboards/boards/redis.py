"""Redis board: what the server says of itself, as its reader reads it."""

from dashboards.board import Board, Row
from dashboards.links import REDIS_UID
from dashboards.panels.panel import TimeSeries
from dashboards.panels.query import Query, instant_query, table_query
from dashboards.panels.stat_panels import Gauge, Stat
from dashboards.panels.table_panels import Table
from dashboards.style import Colour, Step, column, limit_line, rising
from dashboards.variables import CHOSEN_JOB, CHOSEN_REDIS, JOB, REDIS, SOURCE, STEP
from rules.redis_metrics import (
    REDIS_AOF_BYTES,
    REDIS_AOF_OK,
    REDIS_BLOCKED_CLIENTS,
    REDIS_CLIENTS,
    REDIS_CLIENTS_LIMIT,
    REDIS_COMMAND_CALLS,
    REDIS_COMMAND_FAILED,
    REDIS_COMMAND_REJECTED,
    REDIS_COMMAND_SECONDS,
    REDIS_CONNECTIONS,
    REDIS_CPU,
    REDIS_ERRORS,
    REDIS_EVICTED,
    REDIS_EXPIRED,
    REDIS_FORK_SECONDS,
    REDIS_FRAGMENTATION,
    REDIS_HITS,
    REDIS_INFO,
    REDIS_KEYS,
    REDIS_KEYS_EXPIRING,
    REDIS_LAG_BYTES,
    REDIS_LAG_SECONDS,
    REDIS_LINK_SILENT,
    REDIS_LINK_UP,
    REDIS_LOADING,
    REDIS_MEMORY,
    REDIS_MEMORY_LIMIT,
    REDIS_MEMORY_RSS,
    REDIS_MISSES,
    REDIS_PING_SECONDS,
    REDIS_RECEIVED,
    REDIS_REJECTED,
    REDIS_REPLICAS,
    REDIS_SAVE_OK,
    REDIS_SAVE_SECONDS,
    REDIS_SAVED,
    REDIS_SENT,
    REDIS_SLOW,
    REDIS_SLOW_SECONDS,
    REDIS_STARTED,
    REDIS_UNSAVED,
)
from vitals.metrics.catalogue import CACHE_OPERATION_DURATION

_MEMORY = REDIS_MEMORY.sum("instance", **CHOSEN_REDIS)
_LIMIT = REDIS_MEMORY_LIMIT.sum("instance", **CHOSEN_REDIS)
_CLIENTS_LIMIT = REDIS_CLIENTS_LIMIT.sum(**CHOSEN_REDIS)
_SERVER = ("software", "version", "role", "maxmemory_policy", "instance")

MEMORY_USE = Gauge(
    id=1,
    title="Memory in use",
    description="Of maxmemory, the fullest server. A cache that evicts is full by design: see "
    "evictions.",
    unit="percentunit",
    height=4,
    width=4,
    steps=rising(0.8, 0.95),
    queries=(instant_query(f"max({_MEMORY} / {_LIMIT})"),),
    empty="no maxmemory",
)
CLIENTS_USE = Gauge(
    id=2,
    title="Connections in use",
    description="Connections of clients, of maxclients.",
    unit="percentunit",
    height=4,
    width=4,
    steps=rising(0.7, 0.9),
    queries=(instant_query(f"{REDIS_CLIENTS.sum(**CHOSEN_REDIS)} / {_CLIENTS_LIMIT}"),),
    empty="not known",
)
_HIT = REDIS_HITS.rate(**CHOSEN_REDIS)
HIT_RATIO = Stat(
    id=3,
    title="Hit ratio",
    description="Lookups of all clients that found their key, over the last five minutes.",
    unit="percentunit",
    decimals=1,
    queries=(instant_query(f"{_HIT} / ({_HIT} + {REDIS_MISSES.rate(**CHOSEN_REDIS)} > 0)"),),
    empty="no lookups",
)
EVICTED = Stat(
    id=4,
    title="Evicted, 1 hour",
    description="Keys removed within the last hour to stay within maxmemory.",
    unit="short",
    decimals=0,
    queries=(instant_query(REDIS_EVICTED.increase(window="1h", **CHOSEN_REDIS)),),
    empty="not known",
)
SAVED = Stat(
    id=5,
    title="Last save",
    description="Age of the last successful save to disk; red where the last attempt failed.",
    unit="s",
    queries=(instant_query(f"max(time() - {REDIS_SAVED.max('instance', **CHOSEN_REDIS)})"),),
    empty="none since the start",
)
PERSISTENCE = Stat(
    id=6,
    title="Persistence",
    description="1 unless the last save, write to the append-only file or its rewrite failed. "
    "Redis then refuses writes by default.",
    unit="short",
    decimals=0,
    steps=(Step(Colour.BAD), Step(Colour.GOOD, 1)),
    queries=(
        instant_query(
            f"min({REDIS_SAVE_OK.select(**CHOSEN_REDIS)} or {REDIS_AOF_OK.select(**CHOSEN_REDIS)})"
        ),
    ),
    empty="not known",
)
SERVERS = Table(
    id=11,
    title="Servers",
    empty="none",
    description="Version, role, what it evicts, and for how long it runs.",
    unit="short",
    width=14,
    height=6,
    queries=(
        table_query(
            f"{REDIS_INFO.max(*_SERVER, **CHOSEN_REDIS)} * on (instance) group_left () "
            f"(time() - {REDIS_STARTED.max('instance', **CHOSEN_REDIS)})"
        ),
    ),
    columns={
        "instance": "Reader",
        "software": "Software",
        "version": "Version",
        "role": "Role",
        "maxmemory_policy": "Evicts",
        "Value": "Uptime",
    },
    sort=(("Uptime", False),),
    overrides=(
        column("Software", width=80),
        column("Version", "string", width=75),
        column("Role", width=75),
        column("Evicts", width=100),
        column("Uptime", "s", width=90),
    ),
)
SLOWEST = Table(
    id=12,
    title="Slow commands, 10 minutes",
    empty="none",
    description="The longest of the slow log, with how many arguments they had; keys and values "
    "are not read.",
    unit="short",
    width=10,
    height=6,
    queries=(
        table_query(REDIS_SLOW_SECONDS.max("command", "arguments", "client", **CHOSEN_REDIS)),
    ),
    columns={
        "command": "Command",
        "arguments": "Arguments",
        "client": "Client",
        "Value": "Longest",
    },
    sort=(("Longest", True),),
    overrides=(
        column("Arguments", "string", width=120),
        column("Longest", "s", width=100, steps=rising(0.01, 0.1)),
    ),
)
MEMORY = TimeSeries(
    id=21,
    title="Memory",
    description="What the allocator gave out, and what the process has of the system; more of the "
    "latter is fragmentation.",
    unit="bytes",
    width=8,
    queries=(
        Query(REDIS_MEMORY.sum(**CHOSEN_REDIS), "used"),
        Query(REDIS_MEMORY_RSS.sum(**CHOSEN_REDIS), "of the system"),
        Query(REDIS_MEMORY_LIMIT.sum(**CHOSEN_REDIS), "maxmemory"),
    ),
    overrides=(limit_line("maxmemory"),),
)
FRAGMENTATION = TimeSeries(
    id=22,
    title="Fragmentation",
    description="Memory of the process per memory given out. Above 1.5 of a large server, "
    "defragment or restart; below 1, some is swapped out.",
    unit="short",
    decimals=2,
    width=8,
    queries=(Query(REDIS_FRAGMENTATION.max("instance", **CHOSEN_REDIS), "{{instance}}"),),
)
KEYS = TimeSeries(
    id=23,
    title="Keys",
    description="Keys by database, and those with a TTL.",
    unit="short",
    width=8,
    queries=(
        Query(REDIS_KEYS.sum("db_namespace", **CHOSEN_REDIS), "database {{db_namespace}}"),
        Query(REDIS_KEYS_EXPIRING.sum(**CHOSEN_REDIS), "with a TTL"),
    ),
)
LOST = TimeSeries(
    id=24,
    title="Keys lost",
    description="Keys per second whose TTL ended, and that were evicted to stay within maxmemory.",
    unit="ops",
    width=8,
    queries=(
        Query(REDIS_EXPIRED.rate(window=STEP, **CHOSEN_REDIS), "expired"),
        Query(REDIS_EVICTED.rate(window=STEP, **CHOSEN_REDIS), "evicted"),
    ),
)
LOOKUPS = TimeSeries(
    id=25,
    title="Lookups",
    description="Lookups per second that found their key, and that did not.",
    unit="ops",
    width=8,
    queries=(
        Query(REDIS_HITS.rate(window=STEP, **CHOSEN_REDIS), "hits"),
        Query(REDIS_MISSES.rate(window=STEP, **CHOSEN_REDIS), "misses"),
    ),
)
CLIENTS = TimeSeries(
    id=26,
    title="Clients",
    description="Connections, those that wait in a blocking command, and the limit.",
    unit="short",
    width=8,
    queries=(
        Query(REDIS_CLIENTS.sum(**CHOSEN_REDIS), "connected"),
        Query(REDIS_BLOCKED_CLIENTS.sum(**CHOSEN_REDIS), "blocked"),
        Query(_CLIENTS_LIMIT, "limit"),
    ),
    overrides=(limit_line("limit"),),
)
_SECONDS = REDIS_COMMAND_SECONDS.rate("command", **CHOSEN_REDIS)
_TOP = f"topk(15, {_SECONDS} > 0)"
_CALLS = REDIS_COMMAND_CALLS.rate("command", **CHOSEN_REDIS)


def _of_top(expr: str) -> Query:
    return table_query(f"{expr} and on (command) {_TOP}")


COMMANDS = Table(
    id=31,
    title="Top commands of all clients",
    empty="no commands",
    description="The commands with the most time on the server, which runs one at a time.",
    unit="short",
    width=14,
    height=9,
    queries=(
        table_query(f"{_TOP} / on () group_left () {REDIS_COMMAND_SECONDS.rate(**CHOSEN_REDIS)}"),
        _of_top(_CALLS),
        _of_top(f"{_SECONDS} / ({_CALLS} > 0)"),
        _of_top(REDIS_COMMAND_FAILED.rate("command", **CHOSEN_REDIS)),
        _of_top(REDIS_COMMAND_REJECTED.rate("command", **CHOSEN_REDIS)),
        _of_top(REDIS_SLOW.increase("command", window="1h", **CHOSEN_REDIS)),
    ),
    columns={
        "command": "Command",
        "Value #A": "Share of time",
        "Value #B": "Rate",
        "Value #C": "Mean",
        "Value #D": "Failed",
        "Value #E": "Rejected",
        "Value #F": "Slow, 1 h",
    },
    sort=(("Share of time", True),),
    overrides=(
        column("Share of time", "percentunit", width=115),
        column("Rate", "ops", width=90),
        column("Mean", "s", width=80),
        column("Failed", "ops", width=105),
        column("Rejected", "ops", width=105),
        column("Slow, 1 h", "short", width=80),
    ),
)
ERRORS = TimeSeries(
    id=32,
    title="Errors",
    empty="none",
    description="Errors per second by their first word. OOM: no memory for a write; MISCONF: it "
    "cannot be saved; NOPERM: a user's rights.",
    unit="ops",
    width=10,
    height=9,
    queries=(Query(f"{REDIS_ERRORS.rate('error', window=STEP, **CHOSEN_REDIS)} > 0", "{{error}}"),),
)
LATENCY = TimeSeries(
    id=33,
    title="Latency",
    description="A PING of the reader, the mean of all commands on the server, and 95 % of the "
    "commands of the chosen service's caches: where only the latter is high, it is not Redis.",
    unit="s",
    width=8,
    queries=(
        Query(REDIS_PING_SECONDS.max(**CHOSEN_REDIS), "PING"),
        Query(
            f"{REDIS_COMMAND_SECONDS.rate(window=STEP, **CHOSEN_REDIS)} / "
            f"({REDIS_COMMAND_CALLS.rate(window=STEP, **CHOSEN_REDIS)} > 0)",
            "mean on the server",
        ),
        Query(
            CACHE_OPERATION_DURATION.quantile(0.95, window=STEP, job=CHOSEN_JOB), "p95 of caches"
        ),
    ),
)
CPU = TimeSeries(
    id=34,
    title="CPU",
    description="Seconds of CPU per second; commands run on one core.",
    unit="percentunit",
    width=8,
    stacked=True,
    queries=(Query(REDIS_CPU.rate("mode", window=STEP, **CHOSEN_REDIS), "{{mode}}"),),
)
TRAFFIC = TimeSeries(
    id=35,
    title="Traffic",
    description="Bytes per second from clients and to them.",
    unit="bytes",
    width=8,
    queries=(
        Query(REDIS_RECEIVED.rate(window=STEP, **CHOSEN_REDIS), "received"),
        Query(REDIS_SENT.rate(window=STEP, **CHOSEN_REDIS), "sent"),
    ),
)
CONNECTIONS = TimeSeries(
    id=41,
    title="New connections",
    description="Connections per second that were accepted, and that were refused as maxclients "
    "was reached. Many new ones: a client without a pool.",
    unit="ops",
    width=8,
    queries=(
        Query(REDIS_CONNECTIONS.rate(window=STEP, **CHOSEN_REDIS), "accepted"),
        Query(REDIS_REJECTED.rate(window=STEP, **CHOSEN_REDIS), "refused"),
    ),
)
UNSAVED = TimeSeries(
    id=42,
    title="Changes not saved",
    description="Changes since the last save; without an append-only file a crash loses them. Of a "
    "cache without persistence, all since its start.",
    unit="short",
    width=8,
    queries=(Query(REDIS_UNSAVED.sum("instance", **CHOSEN_REDIS), "{{instance}}"),),
)
SAVES = TimeSeries(
    id=43,
    title="Saving",
    empty="none saved",
    description="Duration of the last save, and of the last fork, which holds up all clients; 1 "
    "while the server loads its data.",
    unit="s",
    width=8,
    queries=(
        Query(REDIS_SAVE_SECONDS.max(**CHOSEN_REDIS), "last save"),
        Query(REDIS_FORK_SECONDS.max(**CHOSEN_REDIS), "last fork"),
        Query(f"{REDIS_LOADING.max(**CHOSEN_REDIS)} > 0", "loads"),
    ),
)
AOF = TimeSeries(
    id=51,
    title="Append-only file",
    empty="none: no file",
    description="Its size; a rewrite makes it smaller.",
    unit="bytes",
    width=6,
    queries=(Query(REDIS_AOF_BYTES.sum("instance", **CHOSEN_REDIS), "{{instance}}"),),
)
REPLICAS = TimeSeries(
    id=52,
    title="Replicas",
    description="Replicas connected to each primary; on a replica, whether it has its primary.",
    unit="short",
    decimals=0,
    width=6,
    queries=(
        Query(REDIS_REPLICAS.max("instance", **CHOSEN_REDIS), "{{instance}}"),
        Query(REDIS_LINK_UP.max("instance", **CHOSEN_REDIS), "{{instance}} has its primary"),
    ),
)
LAG = TimeSeries(
    id=53,
    title="Replication lag",
    empty="none: no replica",
    description="Seconds since each replica last confirmed; on a replica, since its primary sent.",
    unit="s",
    width=6,
    queries=(
        Query(REDIS_LAG_SECONDS.max("replica", **CHOSEN_REDIS), "{{replica}}"),
        Query(REDIS_LINK_SILENT.max("instance", **CHOSEN_REDIS), "{{instance}}, its primary"),
    ),
)
LAG_BYTES = TimeSeries(
    id=54,
    title="Not replicated",
    empty="none: no replica",
    description="Bytes that each replica has not confirmed.",
    unit="bytes",
    width=6,
    queries=(Query(REDIS_LAG_BYTES.max("replica", **CHOSEN_REDIS), "{{replica}}"),),
)

BOARD = Board(
    uid=REDIS_UID,
    title="Redis",
    description="What do the Redis servers say of themselves?",
    variables=(SOURCE, JOB, REDIS),
    rows=(
        Row((MEMORY_USE, CLIENTS_USE, HIT_RATIO, EVICTED, SAVED, PERSISTENCE)),
        Row((SERVERS, SLOWEST)),
        Row((MEMORY, FRAGMENTATION, KEYS)),
        Row((LOST, LOOKUPS, CLIENTS)),
        Row((COMMANDS, ERRORS, LATENCY, CPU, TRAFFIC), title="Commands", id=30),
        Row((CONNECTIONS, UNSAVED, SAVES), title="Connections and saving", id=40),
        Row((AOF, REPLICAS, LAG, LAG_BYTES), title="Replication", id=50),
    ),
)
