"""PostgreSQL board: what the server says of itself, as its reader reads it."""

from dashboards.board import Board, Row
from dashboards.links import POSTGRES_UID
from dashboards.panels.panel import TimeSeries
from dashboards.panels.query import Query, instant_query, table_query
from dashboards.panels.stat_panels import Gauge, Stat
from dashboards.panels.table_panels import Table
from dashboards.style import column, limit_line, rising
from dashboards.variables import CHOSEN_JOB, CHOSEN_SERVER, JOB, SERVER, SOURCE, STEP
from rules.datastores import STATEMENTS_OF_ROUTES
from rules.postgres_metrics import (
    PG_ACTIVE,
    PG_BLOCKED,
    PG_BLOCKER_IDLE,
    PG_BLOCKER_TRANSACTION,
    PG_BLOCKS_HIT,
    PG_BLOCKS_READ,
    PG_CHECKPOINTS,
    PG_COMMITS,
    PG_CONNECTIONS,
    PG_CONNECTIONS_LIMIT,
    PG_DEAD_ROWS,
    PG_DEADLOCKS,
    PG_LAG_BYTES,
    PG_LAG_SECONDS,
    PG_LIVE_ROWS,
    PG_LOCK_WAITING,
    PG_OLDEST_TRANSACTION,
    PG_REPLAY_LAG,
    PG_ROLLBACKS,
    PG_SIZE,
    PG_SLOT_BYTES,
    PG_STATEMENT_BLOCKS,
    PG_STATEMENT_CALLS,
    PG_STATEMENT_READ,
    PG_STATEMENT_ROWS,
    PG_STATEMENT_SECONDS,
    PG_STATEMENT_TEXT,
    PG_TABLE_SIZE,
    PG_TEMP_BYTES,
    PG_TRANSACTION,
    PG_VACUUM_PROGRESS,
    PG_VACUUMED,
    PG_WAL_BYTES,
    PG_WRAPAROUND,
)
from vitals.metrics.catalogue import OTHER
from vitals.metrics.declarations import excluding

_SESSION = ("db_namespace", "pid", "application", "user", "state", "statement")
_SESSION_COLUMNS = {
    "pid": "PID",
    "application": "Application",
    "user": "Role",
    "state": "State",
    "statement": "Its last statement",
}
_SESSION_WIDTHS = (
    column("PID", "string", width=70),
    column("Application", width=130),
    column("Role", width=110),
    column("State", width=130),
    column("Database", width=110),
)
_FINGERPRINT = "db_query_fingerprint"
_STATEMENT = ("db_query_summary", _FINGERPRINT)
_RELATION = ("db_namespace", "relation")
_LIMIT = PG_CONNECTIONS_LIMIT.sum(**CHOSEN_SERVER)

CONNECTIONS_USE = Gauge(
    id=1,
    title="Connections in use",
    description="Sessions, of those that the server takes from roles that are not superusers.",
    unit="percentunit",
    height=4,
    width=4,
    steps=rising(0.7, 0.9),
    queries=(instant_query(f"{PG_CONNECTIONS.sum(**CHOSEN_SERVER)} / {_LIMIT}"),),
    empty="not known",
)
WAITING = Stat(
    id=2,
    title="Waiting for locks",
    description="Sessions that wait for a lock of another one now, in the database of the reader.",
    unit="short",
    steps=rising(1, 5),
    queries=(instant_query(PG_LOCK_WAITING.sum(**CHOSEN_SERVER)),),
    empty="not known",
)
OLDEST = Stat(
    id=3,
    title="Oldest transaction",
    description="Age of the oldest open transaction. Vacuum removes no row that it may still see.",
    unit="s",
    steps=rising(60, 900),
    queries=(instant_query(PG_OLDEST_TRANSACTION.max(**CHOSEN_SERVER)),),
    empty="not known",
)
_HIT = PG_BLOCKS_HIT.rate(**CHOSEN_SERVER)
HIT_RATIO = Stat(
    id=4,
    title="Buffer hit ratio",
    description="Share of blocks that were in shared buffers, over the last five minutes.",
    unit="percentunit",
    decimals=1,
    queries=(instant_query(f"{_HIT} / ({_HIT} + {PG_BLOCKS_READ.rate(**CHOSEN_SERVER)} > 0)"),),
    empty="no reads",
)
DEADLOCKS = Stat(
    id=5,
    title="Deadlocks, 1 hour",
    description="Deadlocks that the server ended within the last hour; each failed a transaction.",
    unit="short",
    decimals=0,
    steps=rising(1, 10),
    queries=(instant_query(PG_DEADLOCKS.increase(window="1h", **CHOSEN_SERVER)),),
    empty="not known",
)
WRAPAROUND = Stat(
    id=6,
    title="To wraparound",
    description="Share of the transactions that a database may have before it refuses writes, "
    "unless vacuum freezes its rows; the worst database.",
    unit="percentunit",
    decimals=1,
    steps=rising(0.25, 0.5),
    queries=(instant_query(PG_WRAPAROUND.max(**CHOSEN_SERVER)),),
    empty="not known",
)
BLOCKERS = Table(
    id=11,
    title="Sessions that block others",
    empty="none",
    description="Sessions with locks that others wait for, now or within the last minute and a "
    "half. SELECT pg_terminate_backend(PID) ends one.",
    unit="short",
    width=24,
    height=6,
    queries=(
        table_query(PG_BLOCKED.max(*_SESSION, **CHOSEN_SERVER)),
        table_query(PG_BLOCKER_IDLE.max(*_SESSION, **CHOSEN_SERVER)),
        table_query(PG_BLOCKER_TRANSACTION.max(*_SESSION, **CHOSEN_SERVER)),
    ),
    columns={
        **_SESSION_COLUMNS,
        "Value #A": "Waiting",
        "Value #B": "Idle for",
        "Value #C": "Open for",
        "db_namespace": "Database",
    },
    sort=(("Open for", True),),
    overrides=(
        *_SESSION_WIDTHS,
        column("Waiting", "none", width=80),
        column("Idle for", "s", width=90, steps=rising(5, 10)),
        column("Open for", "s", width=90),
    ),
)
TRANSACTIONS = Table(
    id=12,
    title="Old transactions",
    empty="none",
    description="The five oldest transactions that are open for more than a minute.",
    unit="short",
    width=24,
    height=5,
    queries=(table_query(PG_TRANSACTION.max(*_SESSION, **CHOSEN_SERVER)),),
    columns={
        **_SESSION_COLUMNS,
        "Value": "Open for",
        "db_namespace": "Database",
    },
    sort=(("Open for", True),),
    overrides=(
        *_SESSION_WIDTHS,
        column("Open for", "s", width=90, steps=rising(60, 900)),
    ),
)
CONNECTIONS = TimeSeries(
    id=21,
    title="Connections by state",
    description="Sessions of clients, and how many the server takes.",
    unit="short",
    width=8,
    queries=(
        Query(f"{PG_CONNECTIONS.sum('state', **CHOSEN_SERVER)} > 0", "{{state}}"),
        Query(_LIMIT, "limit"),
    ),
    overrides=(limit_line("limit"),),
)
WAITS = TimeSeries(
    id=22,
    title="Active sessions by wait",
    stacked=True,
    description="What sessions with a running statement wait for; none: they compute.",
    unit="short",
    width=8,
    queries=(Query(PG_ACTIVE.sum("wait_event_type", **CHOSEN_SERVER), "{{wait_event_type}}"),),
)
TRANSACTION_RATE = TimeSeries(
    id=23,
    title="Transactions",
    description="Transactions per second that committed, and that were rolled back.",
    unit="ops",
    width=8,
    queries=(
        Query(PG_COMMITS.rate(window=STEP, **CHOSEN_SERVER), "committed"),
        Query(PG_ROLLBACKS.rate(window=STEP, **CHOSEN_SERVER), "rolled back"),
    ),
)
_SECONDS = PG_STATEMENT_SECONDS.rate(*_STATEMENT, **CHOSEN_SERVER)
_TOP = f"topk(10, {_SECONDS} > 0)"
_CALLS = PG_STATEMENT_CALLS.rate(*_STATEMENT, **CHOSEN_SERVER)


def _of_top(expr: str) -> Query:
    return table_query(f"{expr} and on ({_FINGERPRINT}) {_TOP}")


STATEMENTS = Table(
    id=31,
    title="Top statements of all clients",
    empty="no statements",
    description="The ten statements with the most time on the server, of all its clients, from "
    "pg_stat_statements; the fingerprint is that of the kit's metrics.",
    unit="short",
    width=15,
    height=9,
    queries=(
        table_query(f"{_TOP} / on () group_left () {PG_STATEMENT_SECONDS.rate(**CHOSEN_SERVER)}"),
        _of_top(_CALLS),
        _of_top(f"{_SECONDS} / ({_CALLS} > 0)"),
        _of_top(f"{PG_STATEMENT_ROWS.rate(*_STATEMENT, **CHOSEN_SERVER)} / ({_CALLS} > 0)"),
        _of_top(f"{PG_STATEMENT_READ.rate(*_STATEMENT, **CHOSEN_SERVER)} / ({_CALLS} > 0)"),
    ),
    columns={
        "db_query_summary": "Statement",
        _FINGERPRINT: "Fingerprint",
        "Value #A": "Share of time",
        "Value #B": "Rate",
        "Value #C": "Mean",
        "Value #D": "Rows",
        "Value #E": "Blocks read",
    },
    sort=(("Share of time", True),),
    overrides=(
        column("Fingerprint", "string", width=150),
        column("Share of time", "percentunit", width=110),
        column("Rate", "ops", width=90),
        column("Mean", "s", width=90),
        column("Rows", "short", width=80),
        column("Blocks read", "short", width=100),
    ),
)
_ROUTES = STATEMENTS_OF_ROUTES.sum("http_route", _FINGERPRINT, job=CHOSEN_JOB)
ROUTES = Table(
    id=32,
    title="Routes that send them",
    empty="none known",
    description="Seconds of the last five minutes for which requests of a route waited for one of "
    "these statements, of the chosen service.",
    unit="short",
    width=9,
    height=9,
    queries=(table_query(f"topk(15, {_ROUTES} and on ({_FINGERPRINT}) {_TOP})"),),
    columns={
        "http_route": "Route",
        _FINGERPRINT: "Fingerprint",
        "Value": "Waited",
    },
    sort=(("Waited", True),),
    overrides=(column("Fingerprint", "string", width=150), column("Waited", "s", width=90)),
)
TEXTS = Table(
    id=33,
    title="Their texts",
    empty="no statements",
    description="Texts of the statements, without literals.",
    unit="short",
    width=24,
    height=7,
    queries=(
        table_query(
            f"{PG_STATEMENT_TEXT.max(_FINGERPRINT, 'statement', **CHOSEN_SERVER)} "
            f"* on ({_FINGERPRINT}) group_left () sum by ({_FINGERPRINT}) ({_TOP})"
        ),
    ),
    columns={_FINGERPRINT: "Fingerprint", "statement": "Text", "Value": "Time a second"},
    sort=(("Time a second", True),),
    overrides=(
        column("Fingerprint", "string", width=150),
        column("Time a second", "s", width=120),
    ),
)
_NAMED = f"{{{{db_query_summary}}}} {{{{{_FINGERPRINT}}}}}"


def _per_call(expr: str) -> tuple[Query]:
    return (
        Query(f"{expr} / ({_CALLS} > 0) and on ({_FINGERPRINT}) topk(5, {_SECONDS} > 0)", _NAMED),
    )


MEAN = TimeSeries(
    id=34,
    title="Mean time",
    empty="no statements",
    description="Mean time of each execution of the five statements with the most time.",
    unit="s",
    width=8,
    queries=_per_call(_SECONDS),
)
BLOCKS = TimeSeries(
    id=35,
    title="Blocks an execution",
    empty="no statements",
    description="Blocks of 8 kB that each execution looks at. A step while its rows stay the same "
    "is another plan: an index that is gone, or statistics that are old.",
    unit="short",
    width=8,
    queries=_per_call(PG_STATEMENT_BLOCKS.rate(*_STATEMENT, **CHOSEN_SERVER)),
)
ROWS = TimeSeries(
    id=36,
    title="Rows an execution",
    empty="no statements",
    description="Rows that each execution returns or changes. A step here is more data, or another "
    "use of the statement, and no other plan.",
    unit="short",
    width=8,
    queries=_per_call(PG_STATEMENT_ROWS.rate(*_STATEMENT, **CHOSEN_SERVER)),
)
TABLES = Table(
    id=41,
    title="Tables with the most dead rows",
    empty="no tables",
    description="Rows that vacuum can remove; size without indexes, as of the last vacuum.",
    unit="short",
    width=16,
    height=8,
    queries=(
        table_query(
            f"topk(10, {PG_DEAD_ROWS.max(*_RELATION, **CHOSEN_SERVER, relation=excluding(OTHER))})"
        ),
        table_query(PG_LIVE_ROWS.max(*_RELATION, **CHOSEN_SERVER)),
        table_query(PG_TABLE_SIZE.max(*_RELATION, **CHOSEN_SERVER)),
        table_query(f"time() - {PG_VACUUMED.max(*_RELATION, **CHOSEN_SERVER)}"),
    ),
    columns={
        "relation": "Table",
        "Value #A": "Dead rows",
        "Value #B": "Rows",
        "Value #C": "Size",
        "Value #D": "Vacuumed before",
        "db_namespace": "Database",
    },
    sort=(("Dead rows", True),),
    overrides=(
        column("Dead rows", "short", width=110),
        column("Rows", "short", width=100),
        column("Size", "bytes", width=100),
        column("Vacuumed before", "s", width=140),
    ),
)
VACUUM = TimeSeries(
    id=42,
    title="Vacuum",
    empty="none runs",
    description="Share of a table that a running vacuum has scanned, by its phase.",
    unit="percentunit",
    width=8,
    queries=(
        Query(
            PG_VACUUM_PROGRESS.max("relation", "phase", **CHOSEN_SERVER), "{{relation}} {{phase}}"
        ),
    ),
)
SIZE = TimeSeries(
    id=51,
    title="Size of databases",
    description="Size on disk, of tables and indexes.",
    unit="bytes",
    width=6,
    queries=(Query(PG_SIZE.sum("db_namespace", **CHOSEN_SERVER), "{{db_namespace}}"),),
)
TEMPORARY = TimeSeries(
    id=52,
    title="Temporary files",
    description="Bytes per second that queries wrote because work_mem was too small.",
    unit="bytes",
    width=6,
    queries=(
        Query(PG_TEMP_BYTES.rate("db_namespace", window=STEP, **CHOSEN_SERVER), "{{db_namespace}}"),
    ),
)
WAL = TimeSeries(
    id=53,
    title="WAL",
    description="Bytes of WAL written, per second; from PostgreSQL 14 on.",
    unit="bytes",
    width=6,
    queries=(Query(PG_WAL_BYTES.rate(window=STEP, **CHOSEN_SERVER), "WAL"),),
)
CHECKPOINTS = TimeSeries(
    id=54,
    title="Checkpoints",
    description="Checkpoints within five minutes: timed, or requested because the WAL grew too "
    "fast, which max_wal_size allows.",
    unit="short",
    width=6,
    queries=(Query(PG_CHECKPOINTS.increase("reason", **CHOSEN_SERVER), "{{reason}}"),),
)
LAG = TimeSeries(
    id=61,
    title="Replication lag",
    empty="none: no standby",
    description="How far standbys are behind; on a standby, the age of what it replayed last.",
    unit="s",
    width=8,
    queries=(
        Query(PG_LAG_SECONDS.max("standby", **CHOSEN_SERVER), "{{standby}}"),
        Query(PG_REPLAY_LAG.max("instance", **CHOSEN_SERVER), "{{instance}} replays"),
    ),
)
LAG_BYTES = TimeSeries(
    id=62,
    title="WAL not replayed",
    empty="none: no standby",
    description="Bytes of WAL that each standby has not replayed.",
    unit="bytes",
    width=8,
    queries=(Query(PG_LAG_BYTES.max("standby", **CHOSEN_SERVER), "{{standby}}"),),
)
SLOTS = TimeSeries(
    id=63,
    title="WAL kept for slots",
    empty="none: no slot",
    description="Bytes of WAL that the server keeps for each replication slot; without an end they "
    "fill the disk.",
    unit="bytes",
    width=8,
    queries=(Query(PG_SLOT_BYTES.max("slot", **CHOSEN_SERVER), "{{slot}}"),),
)

BOARD = Board(
    uid=POSTGRES_UID,
    title="PostgreSQL",
    description="What do the database servers say of themselves?",
    variables=(SOURCE, JOB, SERVER),
    rows=(
        Row((CONNECTIONS_USE, WAITING, OLDEST, HIT_RATIO, DEADLOCKS, WRAPAROUND)),
        Row((BLOCKERS, TRANSACTIONS)),
        Row((CONNECTIONS, WAITS, TRANSACTION_RATE)),
        Row((STATEMENTS, ROUTES, TEXTS, MEAN, BLOCKS, ROWS), title="Statements", id=30),
        Row((TABLES, VACUUM), title="Tables and vacuum", id=40),
        Row((SIZE, TEMPORARY, WAL, CHECKPOINTS), title="Storage", id=50),
        Row((LAG, LAG_BYTES, SLOTS), title="Replication", id=60),
    ),
)
