"""Databases and tables: counts of the server's statistics, sizes, wraparound, dead rows, vacuum."""

from collections.abc import Iterator

from sqlalchemy import Connection, text

from rules.postgres_metrics import (
    PG_BLOCKS_HIT,
    PG_BLOCKS_READ,
    PG_COMMITS,
    PG_CONFLICTS,
    PG_DEAD_ROWS,
    PG_DEADLOCKS,
    PG_LIVE_ROWS,
    PG_ROLLBACKS,
    PG_SIZE,
    PG_TABLE_SIZE,
    PG_TABLES,
    PG_TEMP_BYTES,
    PG_TEMP_FILES,
    PG_VACUUM_PROGRESS,
    PG_VACUUMED,
    PG_WRAPAROUND,
)
from stack.readings.sample import BoundedCounts, Sample, largest

DATABASES = 10
TABLES = 20
VACUUMS = 5
"""Databases, tables and vacuums with series of their own."""
WRAPAROUND = float(2**31)

_COUNTS_SQL = text(
    """
    SELECT datname, xact_commit, xact_rollback, blks_hit, blks_read, deadlocks, conflicts,
           temp_bytes, temp_files
    FROM pg_stat_database WHERE datname IS NOT NULL
    """
)
_SIZES_SQL = text(
    """
    SELECT datname,
           CASE WHEN has_database_privilege(oid, 'CONNECT')
                  OR pg_has_role('pg_read_all_stats', 'USAGE')
                THEN CAST(pg_database_size(oid) AS float) END,
           greatest(age(datfrozenxid), mxid_age(datminmxid))
    FROM pg_database WHERE datallowconn
    """
)
# Of pg_class: the functions that measure a table wait where a migration locks it.
_TABLES_SQL = text(
    """
    SELECT current_database(), s.schemaname || '.' || s.relname, CAST(n_dead_tup AS float),
           CAST(n_live_tup AS float),
           CAST(c.relpages AS float) * CAST(current_setting('block_size') AS int),
           CAST(EXTRACT(EPOCH FROM greatest(last_vacuum, last_autovacuum)) AS float)
    FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
    ORDER BY n_dead_tup DESC, c.relpages DESC
    """
)
_VACUUM_SQL = text(
    """
    SELECT p.datname, COALESCE(s.schemaname || '.' || s.relname, CAST(p.relid AS text)), phase,
           CAST(heap_blks_scanned AS float) / greatest(heap_blks_total, 1)
    FROM pg_stat_progress_vacuum p LEFT JOIN pg_stat_all_tables s ON s.relid = p.relid
    ORDER BY heap_blks_total DESC LIMIT :most
    """
)


class Databases:
    """Reads the databases of a server."""

    def __init__(self) -> None:
        self._counts = BoundedCounts(
            (
                *(PG_COMMITS, PG_ROLLBACKS, PG_BLOCKS_HIT, PG_BLOCKS_READ),
                *(PG_DEADLOCKS, PG_CONFLICTS, PG_TEMP_BYTES, PG_TEMP_FILES),
            ),
            DATABASES,
        )

    def read(self, connection: Connection) -> Iterator[Sample]:
        """Counts by database."""
        rows = connection.execute(_COUNTS_SQL).all()
        self._counts.add({row[0]: ((row[0],), tuple(map(float, row[1:]))) for row in rows})
        yield from self._counts.samples()


def read_sizes(connection: Connection) -> Iterator[Sample]:
    """Sizes, and how near each database is to wraparound."""
    rows = connection.execute(_SIZES_SQL).all()
    sizes = [(name, (float(size),)) for name, size, _ in rows if size is not None]
    for name, (size,) in largest(sizes, DATABASES):
        yield Sample(PG_SIZE, (name,), size)
    ages = sorted(rows, key=lambda row: -row[2])[:DATABASES]  # of the others, less
    for name, _, age in ages:
        yield Sample(PG_WRAPAROUND, (name,), age / WRAPAROUND)


def read_tables(connection: Connection) -> Iterator[Sample]:
    """The tables with the most dead rows."""
    rows = connection.execute(_TABLES_SQL).all()
    database = connection.execute(text("SELECT current_database()")).scalar_one()
    yield Sample(PG_TABLES, (database,), len(rows))
    values = ((row[1], (row[2], row[3], row[4])) for row in rows)
    for relation, (dead, live, size) in largest(values, TABLES):
        yield Sample(PG_DEAD_ROWS, (database, relation), dead)
        yield Sample(PG_LIVE_ROWS, (database, relation), live)
        yield Sample(PG_TABLE_SIZE, (database, relation), size)
    for row in rows[:TABLES]:
        if row[5] is not None:
            yield Sample(PG_VACUUMED, (database, row[1]), row[5])


def read_vacuum(connection: Connection) -> Iterator[Sample]:
    """Vacuums that run."""
    for database, relation, phase, ratio in connection.execute(_VACUUM_SQL, {"most": VACUUMS}):
        yield Sample(PG_VACUUM_PROGRESS, (database, relation, phase), ratio)
