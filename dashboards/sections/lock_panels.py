"""Panels of lock waits: who blocks whom in the database, for how long, by which statement."""

from dashboards.panels.panel import TimeSeries
from dashboards.panels.query import Query, instant_query, table_query
from dashboards.panels.stat_panels import Stat
from dashboards.panels.table_panels import Table
from dashboards.style import column, rising
from dashboards.variables import CHOSEN
from vitals.metrics.catalogue import (
    DB_LOCK_BLOCKED,
    DB_LOCK_BLOCKER_PID,
    DB_LOCK_BLOCKING,
    DB_LOCK_SAMPLE_TIME,
    DB_LOCK_TRANSACTION,
    DB_LOCK_WAIT,
    DB_LOCK_WAITING,
)

_BLOCKER = ("db_namespace", "application", "state", "db_query_summary")
_BOTH = (*_BLOCKER, "waiting_query_summary")
_STALE = 90
"""Seconds after which a sample says nothing about now: three intervals of behind a pooler, and more
than that of Prometheus."""
_WAITS = f"{DB_LOCK_WAIT.max(*_BOTH, **CHOSEN)} > 0"


def _blocker(metric: str) -> str:
    """A gauge of the blocking session, for each statement that waits for it."""
    return f"({_WAITS}) * 0 + on ({', '.join(_BLOCKER)}) group_left () {metric}"


WAITING = Stat(
    id=41,
    title="Sessions waiting for locks",
    description="Sessions that wait for a lock of another one now. Empty where no sample was taken "
    "within a minute and a half: no PostgreSQL, locks=False, or the database does not answer.",
    unit="short",
    width=5,
    height=6,
    steps=rising(1, 5),
    queries=(
        instant_query(
            f"sum({DB_LOCK_WAITING.max('db_namespace', **CHOSEN)} and on (db_namespace) "
            f"time() - {DB_LOCK_SAMPLE_TIME.max('db_namespace', **CHOSEN)} < {_STALE})"
        ),
    ),
    empty="not known",
)
PAIRS = Table(
    id=42,
    title="Who blocks whom",
    empty="none",
    description="Transactions that make others wait now, and the statements that wait for them. "
    "SELECT pg_terminate_backend(PID) ends one; vitals locks shows whole statements. "
    "Insufficient privilege: grant pg_read_all_stats to the role of the service.",
    unit="short",
    width=19,
    height=6,
    queries=(
        table_query(_blocker(DB_LOCK_BLOCKER_PID.max(*_BLOCKER, **CHOSEN))),
        table_query(_blocker(DB_LOCK_BLOCKING.max(*_BLOCKER, **CHOSEN))),
        table_query(_blocker(DB_LOCK_TRANSACTION.max(*_BLOCKER, **CHOSEN))),
        table_query(_WAITS),
    ),
    columns={
        "Value #A": "PID",
        "application": "Application",
        "state": "State",
        "db_query_summary": "Its last statement",
        "Value #B": "Blocks for",
        "Value #C": "Open for",
        "waiting_query_summary": "Waiting statement",
        "Value #D": "Waits for",
        "db_namespace": "Database",
    },
    sort=(("Blocks for", True),),
    overrides=(
        column("PID", "none", width=80),
        column("Blocks for", "s", width=100, steps=rising(10, 60)),
        column("Open for", "s", width=90),
        column("Waits for", "s", width=90),
        column("Database", width=110),
    ),
)
BLOCKED = TimeSeries(
    id=43,
    soft_high=1,
    title="Sessions waiting, by who blocks",
    empty="none recorded",
    description="Sessions that wait for a transaction, directly or behind another one: the "
    "application that holds the lock, its last statement and its state.",
    unit="short",
    width=12,
    queries=(
        Query(
            f"topk(10, {DB_LOCK_BLOCKED.max(*_BLOCKER, **CHOSEN)} > 0)",
            "{{application}} {{db_query_summary}} ({{state}})",
        ),
    ),
)
BLOCKING = TimeSeries(
    id=44,
    title="How long they have blocked",
    empty="none recorded",
    description="Time since a transaction first made others wait, while it is open. After a minute "
    "LockWaitLong fires.",
    unit="s",
    width=12,
    queries=(
        Query(
            f"topk(10, {DB_LOCK_BLOCKING.max(*_BLOCKER, **CHOSEN)} > 0)",
            "{{application}} {{db_query_summary}} ({{state}})",
        ),
    ),
)
