"""Index audit: unused, duplicate and missing indexes of a database.

Reads the schema and, on PostgreSQL, its index usage statistics; nothing is changed.
"""

import warnings
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine.interfaces import ReflectedIndex
from sqlalchemy.exc import SAWarning

_UNSET = frozenset(("None", "False", "[]", "{}", ""))
UNUSED, DUPLICATE, MISSING = "unused", "duplicate", "missing"

_UNUSED_SQL = text(
    """
    SELECT s.schemaname, s.relname, s.indexrelname, pg_relation_size(s.indexrelid),
           COALESCE(d.stats_reset, pg_postmaster_start_time())::text
    FROM pg_stat_user_indexes s
    JOIN pg_index i USING (indexrelid)
    JOIN pg_stat_database d ON d.datname = current_database()
    WHERE s.idx_scan = 0 AND NOT i.indisunique AND NOT i.indisexclusion AND i.indisvalid
      AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = s.indexrelid)
    ORDER BY 4 DESC, 1, 2, 3
    """
)


@dataclass(frozen=True)
class Finding:
    """A problem with an index.

    Attributes:
        kind: ``unused``, ``duplicate`` or ``missing``.
        table: The table, with its schema unless that is the default one.
        index: The index's name; empty when it is missing.
        reason: Why it is a problem.
        remedy: SQL that would fix it, to be reviewed and run by a person.
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
        found = _audit_tables(connection)
    return (_unused(connection) if connection.dialect.name == "postgresql" else []) + found


def _audit_tables(connection: Connection) -> list[Finding]:
    found: list[Finding] = []
    schema = inspect(connection)
    quote = connection.dialect.identifier_preparer.quote
    for table in schema.get_table_names():
        keys, constraints = _keys(schema, table, connection.dialect.name)
        found += [
            Finding(
                DUPLICATE,
                table,
                key.name,
                f"redundant: covered by {other.name} ({', '.join(other.columns)})",
                f"DROP INDEX {quote(key.name)};",
            )
            for key in keys
            if key.name not in {each.name for each in constraints}
            and (other := _covering_key(key, keys + constraints))
        ]
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
    return found


def _unused(connection: Connection) -> list[Finding]:
    quote = connection.dialect.identifier_preparer.quote
    return [
        Finding(
            UNUSED,
            table if schema == "public" else f"{schema}.{table}",
            index,
            f"not used since {since[:19]}, {size / 1e6:.1f} MB; check the replicas too",
            f"DROP INDEX {quote(schema)}.{quote(index)};",
        )
        for schema, table, index, size, since in connection.execute(_UNUSED_SQL)
    ]


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
