"""In-memory clone of a SQLite database's schema and statistics, without its rows.

Indexes can be tested there. Only the schema, sqlite_stat1 and approximate row counts are read from
the real database. The clone's planner gets the statistics of the real one and no others, so that
both make the same decisions.
"""

import re
import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

from sqlalchemy import Connection

from vitals.db.indexes.index_candidates import quote_identifier

MAX_OBJECTS = 2_000
"""Tables, indexes and views that are cloned at most."""
MAX_COUNTED_ROWS = 10_000
"""Rows that are counted; beyond, their number is estimated from the first and last key."""
_MIN_ROW_BYTES = 16
"""Minimum bytes per row: the file's size limits the estimated number of rows."""
_EXPRESSION = -2
_ORDER = ("table", "index", "view")

_OBJECTS_SQL = f"""
    SELECT type, name, sql FROM sqlite_master
    WHERE sql IS NOT NULL AND substr(name, 1, 7) <> 'sqlite_' AND sql NOT LIKE 'CREATE VIRTUAL%'
    LIMIT {MAX_OBJECTS + 1}
"""  # noqa: S608

PlanStep = tuple[int, int, str]


class Schema(NamedTuple):
    """The inputs of the query planner.

    Attributes:
        objects: Kind, name and SQL of tables, indexes and views, in creation order.
        statistics: Table, index and statistics, as in sqlite_stat1.
        rows: Approximate row counts of the tables that the statement may use.
    """

    objects: list[tuple[str, str, str]]
    statistics: list[tuple[str, str | None, str]]
    rows: dict[str, int]


def read(connection: Connection, sql: str) -> Schema:
    """Read the schema of a SQLite database as far as a statement needs it.

    Raises:
        ValueError: The schema is too large to clone.
        sqlalchemy.exc.DBAPIError: The database refuses.
    """
    found = connection.exec_driver_sql(_OBJECTS_SQL)
    objects = sorted(
        ((kind, name, text) for kind, name, text in found if kind in _ORDER),
        key=lambda each: _ORDER.index(each[0]),
    )
    if len(objects) > MAX_OBJECTS:
        raise ValueError(f"the schema has more than {MAX_OBJECTS} tables, indexes and views")
    statistics: list[tuple[str, str | None, str]] = []
    if connection.exec_driver_sql(
        "SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'"
    ).scalar():
        rows = connection.exec_driver_sql("SELECT tbl, idx, stat FROM sqlite_stat1")
        statistics = [(table, index, str(figures)) for table, index, figures in rows]
    known: dict[str, int] = {}
    for table, _, figures in statistics:  # a partial index counts only its rows
        known[table] = max(known.get(table, 0), _first(figures))
    counts = {
        name: known[name] if name in known else _count(connection, name, text)
        for kind, name, text in objects
        if kind == "table" and name.lower() in sql.lower()
    }
    return Schema(objects, statistics, counts)


def _first(figures: str) -> int:
    number = figures.partition(" ")[0]
    return int(number) if number.isdigit() else 0


def _count(connection: Connection, table: str, made: str) -> int:
    """Approximate row count; reads a bounded number of rows."""
    few = f"SELECT count(*) FROM (SELECT 1 FROM {quote_identifier(table)} LIMIT {MAX_COUNTED_ROWS})"  # noqa: S608
    counted = int(connection.exec_driver_sql(few).scalar() or 0)
    if (
        counted < MAX_COUNTED_ROWS or "rowid" in made.lower()
    ):  # WITHOUT ROWID, or a column of that name
        return counted
    ends = (f"SELECT {end}(rowid) FROM {quote_identifier(table)}" for end in ("max", "min"))  # noqa: S608
    last, first = (int(connection.exec_driver_sql(end).scalar() or 0) for end in ends)
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar() or 0
    size = connection.exec_driver_sql("PRAGMA page_size").scalar() or 0
    return max(counted, min(last - first + 1, int(pages) * int(size) // _MIN_ROW_BYTES))


class SchemaClone:
    """Context manager for an empty in-memory database with the same schema."""

    def __init__(self, schema: Schema) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        for _, _, text in schema.objects:
            self.try_execute(
                text
            )  # objects that fail, such as with an unknown function, are left out
        if schema.statistics:
            self._connection.execute("ANALYZE")
            self._connection.executemany(
                "INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", schema.statistics
            )
            self._connection.execute("ANALYZE sqlite_master")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def try_execute(self, change: str) -> bool:
        """Execute a schema change on the clone; returns whether it succeeded."""
        try:
            self._connection.execute(change)
        except (sqlite3.Error, sqlite3.Warning):
            return False
        return True

    def plan(self, sql: str, parameters: Any) -> list[PlanStep]:
        """The statement's plan as rows (id, parent, detail).

        Raises:
            ValueError: It cannot be planned.
        """
        try:
            rows = self._connection.execute("EXPLAIN QUERY PLAN " + sql, parameters or ())
            return [(number, parent, detail) for number, parent, _, detail in rows]
        except (sqlite3.Error, sqlite3.Warning, TypeError, OverflowError) as error:
            raise ValueError("SQLite cannot plan the statement") from error

    def columns(self, table: str) -> dict[str, str]:
        """A table's columns with their types."""
        return {row[1]: row[2] for row in self._pragma("table_xinfo", table)}

    def indexes(self, table: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Non-partial indexes of a table, with their keys."""
        for _, name, _, _, partial in list(self._pragma("index_list", table)):
            if not partial:
                yield name, self.key(name)

    def key(self, index: str) -> tuple[Any, ...]:
        """An index's columns: number (-1 for the rowid), expression, direction and collation."""
        made = self._connection.execute(
            "SELECT sql FROM sqlite_master WHERE name = ?", (index,)
        ).fetchone()
        expressions = re.sub(r"\W", "", (made[0] or "").partition("(")[2]).lower()
        return tuple(
            (number, expressions if number == _EXPRESSION else "", descending, collation)
            for _, number, _, descending, collation, is_key in self._pragma("index_xinfo", index)
            if is_key
        )

    def leading(self, index: str) -> str:
        """The first column of an index; empty if that is an expression."""
        first = self._pragma("index_info", index).fetchone()
        return first[2] or "" if first else ""

    def _pragma(self, name: str, of: str) -> sqlite3.Cursor:
        return self._connection.execute(f"PRAGMA {name}({quote_identifier(of)})")
