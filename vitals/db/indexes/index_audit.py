"""Which indexes a database has in vain, twice, or not at all.

Read from the schema and, on PostgreSQL, from what it counts itself; nothing is changed.
"""

import warnings
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.engine.interfaces import ReflectedIndex
from sqlalchemy.exc import SAWarning

_NOTHING = frozenset(("None", "False", "[]", "{}", ""))
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
    """Something to do about an index.

    Attributes:
        kind: ``unused``, ``duplicate`` or ``missing``.
        table: Which table, with its schema where that is not the default one.
        index: Its name; empty when it is missing.
        reason: Why.
        remedy: SQL that would change it. It is for a person to weigh and to run.
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
    """Method, condition and included columns: indexes that differ in it do not replace another."""

    @classmethod
    def of(cls, index: ReflectedIndex, system: str) -> "_Key | None":
        columns = index["column_names"]
        if any(column is None for column in columns):
            return None  # over an expression, which is not told in a form to compare
        options = {
            name: str(value)  # a condition is an expression, which is neither true nor equal
            for name, value in (index.get("dialect_options") or {}).items()
            if name.startswith(system) and str(value) not in _NOTHING
        }
        sorting = index.get("column_sorting") or {}
        return cls(
            str(index["name"]),
            tuple(str(column) for column in columns),
            bool(index["unique"]),
            f"{sorted(options.items())} {sorted(sorting.items())}",
        )


def read(connection: Connection) -> list[Finding]:
    """Everything that is to be said of a database's indexes.

    Args:
        connection: A connection of SQLAlchemy's, to PostgreSQL or SQLite.
    """
    with warnings.catch_warnings():
        # SQLAlchemy leaves out an index over an expression, as we would.
        warnings.simplefilter("ignore", SAWarning)
        found = _of_tables(connection)
    return (_unused(connection) if connection.dialect.name == "postgresql" else []) + found


def _of_tables(connection: Connection) -> list[Finding]:
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
                f"{other.name} ({', '.join(other.columns)}) serves whatever it serves",
                f"DROP INDEX {quote(key.name)};",
            )
            for key in keys
            if key.name not in {each.name for each in constraints}
            and (other := _better(key, keys + constraints))
        ]
        for foreign in schema.get_foreign_keys(table):
            columns = tuple(foreign["constrained_columns"])
            if not any(_leads(key, columns) for key in keys + constraints):
                listed = ", ".join(quote(column) for column in columns)
                found.append(
                    Finding(
                        MISSING,
                        table,
                        "",
                        f"deleting from {foreign['referred_table']}, and joining it, reads all of "
                        f"{table}: nothing begins with ({', '.join(columns)})",
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
            f"never read since {since[:19]}, {size / 1e6:.1f} MB; look on the replicas too",
            f"DROP INDEX {quote(schema)}.{quote(index)};",
        )
        for schema, table, index, size, since in connection.execute(_UNUSED_SQL)
    ]


def _keys(schema: Any, table: str, system: str) -> tuple[list[_Key], list[_Key]]:
    """A table's indexes, and what constraints keep; the latter also appear as indexes."""
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


def _better(key: _Key, others: list[_Key]) -> _Key | None:
    """Another that makes this one superfluous; of two equal ones the later name goes."""
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


def _leads(key: _Key, columns: tuple[str, ...]) -> bool:
    whole = "where" not in key.kind
    return whole and set(key.columns[: len(columns)]) == set(columns)
