"""WAL, checkpoints, standbys and replication slots."""

from collections.abc import Iterator

from sqlalchemy import Connection, text

from rules.postgres_metrics import (
    PG_ARCHIVE_FAILURES,
    PG_CHECKPOINT_SECONDS,
    PG_CHECKPOINTS,
    PG_LAG_BYTES,
    PG_LAG_SECONDS,
    PG_RECEIVING,
    PG_REPLAY_LAG,
    PG_SLOT_ACTIVE,
    PG_SLOT_BYTES,
    PG_WAL_BYTES,
)
from stack.postgres_reader.server import CHECKPOINTER_VERSION, WAL_VERSION, version_of
from stack.readings.sample import BoundedCounts, Sample

MOST = 10
"""Standbys and slots with series of their own, those that are behind the furthest."""

_CHECKPOINTS_SQL = text(
    "SELECT checkpoints_timed, checkpoints_req, checkpoint_write_time FROM pg_stat_bgwriter"
)
_CHECKPOINTER_SQL = text("SELECT num_timed, num_requested, write_time FROM pg_stat_checkpointer")
_WAL_SQL = text("SELECT CAST(wal_bytes AS float) FROM pg_stat_wal")
_ARCHIVER_SQL = text("SELECT failed_count FROM pg_stat_archiver")
_NOW_SQL = """
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END
"""
_STANDBYS_SQL = text(
    f"""
    SELECT COALESCE(NULLIF(application_name, ''), 'unnamed'),
           CAST(pg_wal_lsn_diff({_NOW_SQL}, COALESCE(replay_lsn, flush_lsn, write_lsn, sent_lsn))
                AS float) AS behind,
           greatest(CAST(EXTRACT(EPOCH FROM COALESCE(replay_lag, flush_lag, write_lag)) AS float),
                    CASE WHEN COALESCE(replay_lsn, flush_lsn) < {_NOW_SQL}
                    THEN CAST(EXTRACT(EPOCH FROM clock_timestamp() - reply_time) AS float) END, 0)
    FROM pg_stat_replication WHERE state = 'streaming' ORDER BY 2 DESC NULLS LAST LIMIT :most
    """  # noqa: S608 - a constant
)
_SLOTS_SQL = text(
    f"""
    SELECT slot_name, active, CAST(pg_wal_lsn_diff({_NOW_SQL}, restart_lsn) AS float)
    FROM pg_replication_slots WHERE NOT temporary ORDER BY 3 DESC NULLS LAST LIMIT :most
    """  # noqa: S608 - a constant
)
_REPLAY_SQL = text(
    """
    SELECT CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
           ELSE CAST(EXTRACT(EPOCH FROM clock_timestamp() - pg_last_xact_replay_timestamp())
                     AS float) END,
           EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')
    """
)


class Writing:
    """Reads what a server writes ahead, and its checkpoints."""

    def __init__(self) -> None:
        self._wal = BoundedCounts((PG_WAL_BYTES,), 1)
        self._archive = BoundedCounts((PG_ARCHIVE_FAILURES,), 1)
        self._seconds = BoundedCounts((PG_CHECKPOINT_SECONDS,), 1)
        self._checkpoints = BoundedCounts((PG_CHECKPOINTS,), 2)

    def read(self, connection: Connection) -> Iterator[Sample]:
        """WAL, checkpoints, archiving."""
        version = version_of(connection)
        newer = version >= CHECKPOINTER_VERSION
        found = connection.execute(_CHECKPOINTER_SQL if newer else _CHECKPOINTS_SQL).one()
        timed, requested, milliseconds = map(float, found)
        self._checkpoints.add(
            {"timed": (("timed",), (timed,)), "requested": (("requested",), (requested,))}
        )
        self._seconds.add({"": ((), (milliseconds / 1000,))})
        failed = connection.execute(_ARCHIVER_SQL).scalar_one()
        self._archive.add({"": ((), (float(failed),))})
        if version >= WAL_VERSION:
            self._wal.add({"": ((), (connection.execute(_WAL_SQL).scalar_one(),))})
        for counts in (self._checkpoints, self._seconds, self._archive, self._wal):
            yield from counts.samples()


def read_replication(connection: Connection) -> Iterator[Sample]:
    """Standbys and slots; of a standby, how far it is itself behind."""
    standbys: dict[str, tuple[float | None, float]] = {}
    for name, behind, seconds in connection.execute(_STANDBYS_SQL, {"most": MOST}):
        standbys.setdefault(name, (behind, seconds))  # of several of one name, the worst
    for name, (behind, seconds) in standbys.items():
        if behind is not None:
            yield Sample(PG_LAG_BYTES, (name,), max(0.0, behind))
        yield Sample(PG_LAG_SECONDS, (name,), seconds)
    for name, active, retained in connection.execute(_SLOTS_SQL, {"most": MOST}):
        yield Sample(PG_SLOT_ACTIVE, (name,), float(active))
        if retained is not None:
            yield Sample(PG_SLOT_BYTES, (name,), max(0.0, retained))
    if connection.execute(text("SELECT pg_is_in_recovery()")).scalar_one():
        lag, receives = connection.execute(_REPLAY_SQL).one()
        if lag is not None:
            yield Sample(PG_REPLAY_LAG, (), max(0.0, lag))
        yield Sample(PG_RECEIVING, (), float(receives))
