"""Index audit: unused, duplicate and missing indexes of a database.

Reads the schema and, on PostgreSQL, its index usage statistics; nothing is changed.
"""

import warnings
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine.interfaces import ReflectedIndex
from sqlalchemy.exc import SAWarning

_UNSET = frozenset(("None", "False", "[]", "{}", ""))
UNUSED, DUPLICATE, MISSING, UNKNOWN = "unused", "duplicate", "missing", "unknown"

MIN_COUNTER_AGE = 7 * 86_400.0
"""Seconds for which PostgreSQL must have counted before an index is called unused: reports and
batches may run once a week."""

# Without stats_reset they have counted since the server started, or longer.
_COUNTERS_SQL = text(
    """
    SELECT EXTRACT(EPOCH FROM now() - COALESCE(d.stats_reset, pg_postmaster_start_time()))::float,
           COALESCE(d.stats_reset, pg_postmaster_start_time()), pg_is_in_recovery(),
           (SELECT count(*) FROM pg_stat_replication)
               + (SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'physical'
                  AND NOT active)
    FROM pg_stat_database d WHERE d.datname = current_database()
    """
)
_UNUSED_SQL = text(
    """
    SELECT s.schemaname, s.relname, s.indexrelname, pg_relation_size(s.indexrelid)
    FROM pg_stat_user_indexes s
    JOIN pg_index i USING (indexrelid)
    WHERE s.idx_scan = 0 AND NOT i.indisunique AND NOT i.indisexclusion AND i.indisvalid
      AND NOT i.indisreplident
      AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = s.indexrelid)
      AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = s.indexrelid)
      AND NOT EXISTS (SELECT FROM pg_constraint f  -- deletes of what it refers to look rows up
                      WHERE f.contype = 'f' AND f.conrelid = s.relid
                        AND i.indkey[0] = ANY (f.conkey))
    ORDER BY 4 DESC, 1, 2, 3
    """
)
_REPLICA_IDENTITIES_SQL = text(
    """
    SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indisreplident OR EXISTS (SELECT FROM pg_constraint f WHERE f.conindid = i.indexrelid)
    """
)


@dataclass(frozen=True)
class Finding:
    """A problem with an index.

    Attributes:
        kind: ``unused``, ``duplicate``, ``missing``, or ``unknown``: nothing can be advised yet.
        table: The table, with its schema unless that is the default one.
        index: The index's name; empty when it is missing, or for several.
        reason: Why it is a problem.
        remedy: SQL that would fix it, to be reviewed and run by a person; a sentence if unknown.
    """

    kind: str
    table: str
    index: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class _Key:
    """An index, a primary key or a unique constraint."""

    name: str
    columns: tuple[str, ...]
    unique: bool
    kind: str
    """Method, condition and included columns; an index replaces only others of its kind."""

    @classmethod
    def of(cls, index: ReflectedIndex, system: str) -> "_Key | None":
        columns = index["column_names"]
        if any(column is None for column in columns):
            return None  # over an expression, which is not reflected in a comparable form
        options = {
            name: str(value)  # a condition is an expression without truth value or equality
            for name, value in (index.get("dialect_options") or {}).items()
            if name.startswith(system) and str(value) not in _UNSET
        }
        sorting = index.get("column_sorting") or {}
        return cls(
            str(index["name"]),
            tuple(str(column) for column in columns),
            bool(index["unique"]),
            f"{sorted(options.items())} {sorted(sorting.items())}",
        )


def read(connection: Connection) -> list[Finding]:
    """Audit a database's indexes.

    Args:
        connection: A SQLAlchemy connection to PostgreSQL or SQLite.
    """
    with warnings.catch_warnings():
        # SQLAlchemy skips indexes over expressions with a warning; so does this audit.
        warnings.simplefilter("ignore", SAWarning)
        found, kept = _audit_tables(connection)
    return (_unused(connection, kept) if connection.dialect.name == "postgresql" else []) + found


def _audit_tables(connection: Connection) -> tuple[list[Finding], set[str]]:
    """Findings of the schema, and names of indexes that were found or must do for a found one."""
    found: list[Finding] = []
    kept: set[str] = set()
    schema = inspect(connection)
    quote = connection.dialect.identifier_preparer.quote
    needed: set[str] = set()
    if connection.dialect.name == "postgresql":
        needed = set(connection.execute(_REPLICA_IDENTITIES_SQL).scalars())
    for table in schema.get_table_names():
        keys, constraints = _keys(schema, table, connection.dialect.name)
        for key in keys:
            if key.name in needed or key.name in {each.name for each in constraints}:
                continue
            other = _covering_key(key, keys + constraints)
            if other is not None:
                kept |= {key.name, other.name}
                reason = f"redundant: covered by {other.name} ({', '.join(other.columns)})"
                remedy = f"DROP INDEX {quote(key.name)};"
                found.append(Finding(DUPLICATE, table, key.name, reason, remedy))
        for foreign in schema.get_foreign_keys(table):
            columns = tuple(foreign["constrained_columns"])
            if not any(_covers_foreign_key(key, columns) for key in keys + constraints):
                listed = ", ".join(quote(column) for column in columns)
                found.append(
                    Finding(
                        MISSING,
                        table,
                        "",
                        f"foreign key without an index on ({', '.join(columns)}): deletes from and "
                        f"joins with {foreign['referred_table']} scan all of {table}",
                        f"CREATE INDEX ON {quote(table)} ({listed});"
                        if connection.dialect.name == "postgresql"
                        else f"CREATE INDEX {quote('ix_' + table + '_' + '_'.join(columns))} "
                        f"ON {quote(table)} ({listed});",
                    )
                )
    return found, kept


def _unused(connection: Connection, kept: set[str]) -> list[Finding]:
    quote = connection.dialect.identifier_preparer.quote
    age, since, is_replica, replicas = connection.execute(_COUNTERS_SQL).one()
    counted = f"since {since.astimezone(UTC):%Y-%m-%d %H:%M} UTC ({_duration(age)})"
    unused = [row for row in connection.execute(_UNUSED_SQL) if row[2] not in kept]
    if not unused:
        return []
    if age < MIN_COUNTER_AGE:
        reason = f"{len(unused)} not used yet, but counted only {counted}: too short to tell"
        remedy = f"ask again when they have been counted for {_duration(MIN_COUNTER_AGE)}"
        return [Finding(UNKNOWN, "", "", reason, remedy)]
    findings = []
    for schema, table, index, size in unused:
        named = table if schema == "public" else f"{schema}.{table}"
        reason = f"not used on this server {counted}, or since it was made; {size / 1e6:.1f} MB"
        if is_replica or replicas:
            others = "its primary" if is_replica else f"{replicas} replicas"
            remedy = f"run vitals indexes on {others} too: whether it is used there is unknown"
            findings.append(Finding(UNKNOWN, named, index, reason, remedy))
        else:
            remedy = f"DROP INDEX {quote(schema)}.{quote(index)};"
            findings.append(Finding(UNUSED, named, index, reason, remedy))
    return findings


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _keys(schema: Any, table: str, system: str) -> tuple[list[_Key], list[_Key]]:
    """A table's indexes, and its primary key and unique constraints, which also have indexes."""
    constraints = [
        _Key(str(one["name"]), tuple(one["column_names"]), unique=True, kind="[] []")
        for one in schema.get_unique_constraints(table)
    ]
    primary = schema.get_pk_constraint(table)
    if primary["constrained_columns"]:
        name = primary["name"] or "the primary key"
        columns = tuple(primary["constrained_columns"])
        constraints.append(_Key(name, columns, unique=True, kind="[] []"))
    indexes = [_Key.of(index, system) for index in schema.get_indexes(table)]
    return [key for key in indexes if key is not None], constraints


def _covering_key(key: _Key, others: list[_Key]) -> _Key | None:
    """Another key that makes this one redundant; of two equal ones the later name is redundant."""
    for other in others:
        if other.name == key.name or other.kind != key.kind:
            continue
        longer = other.columns[: len(key.columns)] == key.columns
        same = other.columns == key.columns and other.unique == key.unique
        if same and key.name > other.name:
            return other
        if longer and not same and not key.unique:
            return other
    return None


def _covers_foreign_key(key: _Key, columns: tuple[str, ...]) -> bool:
    whole = "where" not in key.kind
    return whole and set(key.columns[: len(columns)]) == set(columns)
