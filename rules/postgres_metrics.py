"""Declarations of the metrics of the reader of PostgreSQL (``stack/postgres_reader``).

Bounded: of what a server may have any number of (databases, tables, statements, standbys, slots),
so many have series of their own, and ``__other__`` has the rest. What is not known has no series.
"""

from typing import NamedTuple

from vitals.metrics.declarations import Counter, Gauge, NoLabels


class PartLabels(NamedTuple):
    """The label of a part of what is read: ``sessions``, ``locks``, ``statements``."""

    part: str


class ServerLabels(NamedTuple):
    """The version, whether a pooler is in between, and ``primary`` or ``standby``."""

    version: str
    pooler: str
    role: str


class StateLabels(NamedTuple):
    """The label of a state of sessions, such as ``idle in transaction``."""

    state: str


class WaitLabels(NamedTuple):
    """What active sessions wait for: ``Lock``, ``IO``, ``Client``; ``none`` where they run."""

    wait_event_type: str


class SessionLabels(NamedTuple):
    """A session, and its last statement without literals, 200 characters of it."""

    db_namespace: str
    pid: str
    application: str
    user: str
    state: str
    statement: str


class DatabaseLabels(NamedTuple):
    """The label of a database."""

    db_namespace: str


class RelationLabels(NamedTuple):
    """A table with its schema, of the database that the reader is connected to."""

    db_namespace: str
    relation: str


class VacuumLabels(NamedTuple):
    """A table that is vacuumed, and the phase of that."""

    db_namespace: str
    relation: str
    phase: str


class StandbyLabels(NamedTuple):
    """The application name of a standby."""

    standby: str


class SlotLabels(NamedTuple):
    """The label of a replication slot."""

    slot: str


class StatementLabels(NamedTuple):
    """A statement, by the fingerprint that the kit's metrics have too."""

    db_query_fingerprint: str
    db_query_summary: str


class StatementTextLabels(NamedTuple):
    """A statement and its text without literals, 300 characters of it."""

    db_query_fingerprint: str
    statement: str


class CheckpointLabels(NamedTuple):
    """Why checkpoints began: ``timed`` or ``requested``, as when the WAL has grown too fast."""

    reason: str


# -- The reading itself --------------------------------------------------------------------

PG_UP = Gauge("postgres_up", "1 where PostgreSQL answered the reader within 30 seconds.", NoLabels)
PG_INFO = Gauge("postgres_info", "1; its labels describe the server.", ServerLabels)
PG_READ_SECONDS = Gauge("postgres_read_seconds", "Duration of the last reading.", NoLabels)
PG_READ_FAILURES = Counter(
    "postgres_read_failures_total",
    "Parts that could not be read, such as for a missing right; connect: there was no connection.",
    PartLabels,
)
PG_PART_READ = Gauge(
    "postgres_part_read",
    "1 where the last reading of a part succeeded; where 0, nothing is known of it.",
    PartLabels,
)

# -- Sessions, transactions, locks -----------------------------------------------------------

PG_CONNECTIONS = Gauge("postgres_connections", "Sessions of clients by state.", StateLabels)
PG_CONNECTIONS_LIMIT = Gauge(
    "postgres_connections_limit",
    "Connections for roles that are not superusers: max_connections less the reserved ones.",
    NoLabels,
)
PG_ACTIVE = Gauge("postgres_active_sessions", "Active sessions by what they wait for.", WaitLabels)
PG_OLDEST_TRANSACTION = Gauge(
    "postgres_oldest_transaction_seconds",
    "Age of a client's oldest open transaction; 0 without one.",
    NoLabels,
)
PG_TRANSACTION = Gauge(
    "postgres_transaction_seconds",
    "Age of the five oldest transactions that are open for more than a minute.",
    SessionLabels,
)
PG_LOCK_WAITING = Gauge(
    "postgres_lock_waiting_sessions",
    "Sessions of a database that wait for a lock, advisory locks aside.",
    DatabaseLabels,
)
PG_BLOCKED = Gauge(
    "postgres_blocked_sessions",
    "Sessions that wait for a session, the five worst, directly or behind another one.",
    SessionLabels,
)
PG_BLOCKER_IDLE = Gauge(
    "postgres_blocker_idle_seconds",
    "For how long a session that blocks others has sent nothing in its open transaction.",
    SessionLabels,
)
PG_BLOCKER_TRANSACTION = Gauge(
    "postgres_blocker_transaction_seconds",
    "Age of the transaction of a session that blocks others.",
    SessionLabels,
)

# -- Databases -------------------------------------------------------------------------------

PG_COMMITS = Counter("postgres_commits_total", "Transactions that committed.", DatabaseLabels)
PG_ROLLBACKS = Counter("postgres_rollbacks_total", "Those rolled back.", DatabaseLabels)
PG_BLOCKS_HIT = Counter(
    "postgres_blocks_hit_total", "Blocks that were found in shared buffers.", DatabaseLabels
)
PG_BLOCKS_READ = Counter(
    "postgres_blocks_read_total",
    "Blocks that were not, and came from the operating system.",
    DatabaseLabels,
)
PG_DEADLOCKS = Counter("postgres_deadlocks_total", "Deadlocks that were ended.", DatabaseLabels)
PG_CONFLICTS = Counter(
    "postgres_conflicts_total", "Queries of a standby that replay has ended.", DatabaseLabels
)
PG_TEMP_BYTES = Counter(
    "postgres_temp_bytes_total",
    "Bytes that queries wrote to temporary files: work_mem was too small.",
    DatabaseLabels,
)
PG_TEMP_FILES = Counter("postgres_temp_files_total", "Such files.", DatabaseLabels)
PG_SIZE = Gauge("postgres_database_size_bytes", "Size on disk.", DatabaseLabels)
PG_WRAPAROUND = Gauge(
    "postgres_wraparound_ratio",
    "Share of the two thousand million transactions after which a database refuses writes, "
    "unless vacuum freezes its rows; of multixacts, where that is higher.",
    DatabaseLabels,
)

# -- Tables and vacuum -----------------------------------------------------------------------

PG_TABLES = Gauge("postgres_tables", "Tables of the database.", DatabaseLabels)
PG_DEAD_ROWS = Gauge("postgres_table_dead_rows", "Rows that vacuum can remove.", RelationLabels)
PG_LIVE_ROWS = Gauge("postgres_table_rows", "Rows, as the statistics estimate.", RelationLabels)
PG_TABLE_SIZE = Gauge(
    "postgres_table_size_bytes",
    "Size of the table itself as of its last vacuum or analyze, without indexes.",
    RelationLabels,
)
PG_VACUUMED = Gauge(
    "postgres_table_vacuum_time_seconds",
    "Time of the last vacuum, as Unix time; absent if there was none.",
    RelationLabels,
)
PG_VACUUM_PROGRESS = Gauge(
    "postgres_vacuum_progress_ratio", "Share of a table that is scanned.", VacuumLabels
)

# -- WAL, checkpoints, replication -----------------------------------------------------------

PG_WAL_BYTES = Counter("postgres_wal_bytes_total", "Bytes of WAL written.", NoLabels)
PG_CHECKPOINTS = Counter("postgres_checkpoints_total", "Checkpoints.", CheckpointLabels)
PG_CHECKPOINT_SECONDS = Counter(
    "postgres_checkpoint_write_seconds_total", "Time spent writing in checkpoints.", NoLabels
)
PG_ARCHIVE_FAILURES = Counter(
    "postgres_archive_failures_total", "WAL files that could not be archived.", NoLabels
)
PG_LAG_BYTES = Gauge(
    "postgres_replication_lag_bytes",
    "WAL that a standby has not replayed, or where it does not replay, not written yet.",
    StandbyLabels,
)
PG_LAG_SECONDS = Gauge(
    "postgres_replication_lag_seconds",
    "How far a standby is behind; or for how long it has not answered, if that is longer.",
    StandbyLabels,
)
PG_REPLAY_LAG = Gauge(
    "postgres_replay_lag_seconds",
    "On a standby: age of the last replayed transaction; 0 where all that came is replayed.",
    NoLabels,
)
PG_RECEIVING = Gauge(
    "postgres_receiving", "On a standby: 1 while it receives WAL from its primary.", NoLabels
)
PG_SLOT_ACTIVE = Gauge("postgres_slot_active", "1 where someone reads a slot.", SlotLabels)
PG_SLOT_BYTES = Gauge(
    "postgres_slot_retained_bytes", "WAL that the server keeps for a slot.", SlotLabels
)

# -- Statements of pg_stat_statements --------------------------------------------------------

PG_STATEMENT_CALLS = Counter(
    "postgres_statement_calls_total", "Executions of a statement.", StatementLabels
)
PG_STATEMENT_SECONDS = Counter(
    "postgres_statement_seconds_total", "Time spent in it, of all clients.", StatementLabels
)
PG_STATEMENT_ROWS = Counter(
    "postgres_statement_rows_total", "Rows it returned or changed.", StatementLabels
)
PG_STATEMENT_READ = Counter(
    "postgres_statement_blocks_read_total",
    "Blocks it had to read from the operating system.",
    StatementLabels,
)
PG_STATEMENT_BLOCKS = Counter(
    "postgres_statement_blocks_total",
    "Blocks it looked at, in shared buffers or not: another plan of a statement needs more or "
    "fewer for the same rows.",
    StatementLabels,
)
PG_STATEMENT_TEMP = Counter(
    "postgres_statement_temp_blocks_total",
    "Blocks it wrote to temporary files.",
    StatementLabels,
)
PG_STATEMENT_TEXT = Gauge(
    "postgres_statement_text", "1; the label is its text.", StatementTextLabels
)
