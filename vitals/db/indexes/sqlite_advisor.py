"""Index advisor for SQLite, based on an empty clone of the schema.

SQLite has no hypothetical indexes and reports no costs. So candidates are created in a clone of the
schema, and ``EXPLAIN QUERY PLAN`` shows whether the planner uses them. The cost is estimated here,
in rows: all of a table for a SCAN and again for sorting them; for a SEARCH the estimate of
sqlite_stat1 for the index, else a tenth for each equality column and a quarter for a range. Rows
are not read, so their distribution over values is an assumption, which the advice states.
"""

import re
from typing import Any

from sqlalchemy import Connection

from vitals.db.indexes import sql_clauses
from vitals.db.indexes.index_candidates import IndexCandidate, candidates
from vitals.db.indexes.postgresql_advisor import (
    DEEP_OFFSET_HINT,
    MIN_GAIN,
    Advice,
    best_indexes,
    has_deep_offset,
)
from vitals.db.indexes.schema_clone import PlanStep, Schema, SchemaClone, read
from vitals.db.statements.plans import Node

SMALL_TABLE_ROWS = 1_000
"""Rows below which no index is advised."""

_STEP = re.compile(r"(SCAN|SEARCH) (?:TABLE )?(\S+)(?: AS (\S+))?(?: USING (.*))?$")
_USED = re.compile(r"INDEX (\S+)")
_WIDTHS = {"INT": 4, "REAL": 8, "FLOA": 8, "DOUB": 8, "BOOL": 1, "DATE": 20}
_TEXT, _ENTRY = 24, 10
"""Bytes of a value of another type, and of an index entry without its columns."""


def advise(connection: Connection, sql: str, parameters: Any = None) -> Advice:
    """Find indexes that would make a statement cheaper.

    Args:
        connection: To SQLite; only schema, statistics and row counts are read.
        sql: One statement, as sent to the driver.
        parameters: Its values.

    Raises:
        ValueError: The schema is too large to clone.
        sqlalchemy.exc.DBAPIError: The database refuses.
    """
    return advise_on_schema(read(connection, sql), sql, parameters)


def advise_on_schema(schema: Schema, sql: str, parameters: Any = None) -> Advice:
    """Like ``advise``, on a schema that was read before; takes CPU time but no database."""
    with SchemaClone(schema) as clone:
        trial = _CloneIndexes(clone, schema, sql, parameters)
        try:
            before, _ = trial.cost(())
        except ValueError:
            note = "SQLite cannot plan this on another connection: is it one complete statement?"
            return Advice([], 0, 0, notes=[note])
        if has_deep_offset(sql, parameters):
            return Advice([], before, before, notes=[DEEP_OFFSET_HINT])
        if before < SMALL_TABLE_ROWS:
            return Advice([], before, before, notes=trial.small_tables())
        tried = candidates(sql_clauses.as_plan(sql, trial.tables), lambda _table: {})
        chosen, after = best_indexes(trial, [_for_sqlite(index) for index in tried], before)
        if not chosen or after > before * (1 - MIN_GAIN):
            return Advice([], before, before)
        return Advice(
            [trial.create_sql(index) for index in chosen],
            before,
            after,
            trial.size(chosen),
            [*trial.redundant_indexes(chosen), *_notes(schema)],
        )


def _for_sqlite(index: IndexCandidate) -> IndexCandidate:
    columns = (column.replace("text_pattern_ops", "COLLATE NOCASE") for column in index.columns)
    return IndexCandidate(index.table.removeprefix('"main".'), tuple(columns))


def _notes(schema: Schema) -> list[str]:
    return [
        "costs are estimated rows: if most rows have the same value, the index helps less",
        "every write to the table must update the index; creating it blocks all writers"
        + ("; then run ANALYZE" if schema.statistics else ""),
    ]


class _CloneIndexes:
    """Temporary indexes in a clone of the schema."""

    def __init__(self, clone: SchemaClone, schema: Schema, sql: str, parameters: Any) -> None:
        self._clone = clone
        self._sql = sql
        self._parameters = parameters
        self._names = {name for _, name, _ in schema.objects}
        self._rows = schema.rows
        self._figures = {index: figures.split() for _, index, figures in schema.statistics}
        self._costs: dict[tuple[IndexCandidate, ...], float] = {}
        self._limited = re.search(r"\bLIMIT\b", sql, re.IGNORECASE) is not None
        self._columns = {name: clone.columns(name) for name in schema.rows}
        self.tables = sql_clauses.tables(
            sql, {name: list(all_) for name, all_ in self._columns.items()}
        )

    def cost(self, indexes: tuple[IndexCandidate, ...]) -> tuple[float, Node]:
        """Rows read or sorted with these indexes; infinite if one cannot be created."""
        if indexes not in self._costs:
            plan = self._plan(indexes)
            self._costs[indexes] = (
                float("inf") if plan is None else self._estimate_cost(plan, indexes)
            )
        return self._costs[indexes], {"possible": self._costs[indexes] < float("inf")}

    def used(self, indexes: tuple[IndexCandidate, ...]) -> tuple[IndexCandidate, ...]:
        """The indexes that the planner uses when it has all of these."""
        possible = tuple(index for index in indexes if self.cost((index,))[0] < float("inf"))
        text = "\n".join(detail for _, _, detail in self._plan(possible) or ())
        taken = set(_USED.findall(text))
        return tuple(index for number, index in enumerate(possible) if f"tried_{number}" in taken)

    def exists(self, index: IndexCandidate) -> bool:
        """Whether a non-partial index, or the table itself, starts with these columns."""
        if not self._create((index,)):
            return True  # it cannot be created, so it is no candidate
        key = self._clone.key("tried_0")
        others = [key_ for name, key_ in self._of(index) if name != "tried_0"]
        self._clone.try_execute("DROP INDEX tried_0")
        return key[0][0] == -1 or any(other[: len(key)] == key for other in others)

    def create_sql(self, index: IndexCandidate) -> str:
        """SQL that creates the index, with an unused name."""
        words = re.findall(r"\w+", " ".join((index.table, *index.columns)))
        name = base = "_".join(["ix", *words]).lower()
        number = 1
        while name in self._names:
            number += 1
            name = f"{base}_{number}"
        self._names.add(name)
        return f'CREATE INDEX "{name}" ON {index.table} ({", ".join(index.columns)})'

    def redundant_indexes(self, indexes: tuple[IndexCandidate, ...]) -> list[str]:
        """Notes on existing indexes that these make redundant."""
        found = []
        for index in indexes:
            self._create((index,))
            key = self._clone.key("tried_0")
            found += [
                f"{name} is then redundant, unless it is unique: it is a prefix of the new one"
                for name, other in self._of(index)
                if name in self._names and other == key[: len(other)]
            ]
            self._clone.try_execute("DROP INDEX tried_0")
        return found

    def size(self, indexes: tuple[IndexCandidate, ...]) -> int:
        """Size in bytes, estimated from the types of the columns."""
        total = 0
        for index in indexes:
            table = _bare(index.table)
            types = {f'"{name}"': kind.upper() for name, kind in self._columns[table].items()}
            widths = (types.get(column.split(" ")[0], "")[:4] for column in index.columns)
            entry = _ENTRY + sum(_width(kind) for kind in widths)
            total += self._rows[table] * entry
        return total

    def small_tables(self) -> list[str]:
        """Notes on small tables, for which a full table scan is fine."""
        scanned = {
            table
            for _, _, detail in self._plan(()) or ()
            if (step := _STEP.match(detail)) and step[1] == "SCAN" and (table := self._table(step))
        }
        return [
            f"{table} has about {self._rows[table]} rows: a full table scan costs less than an "
            "index"
            for table in sorted(scanned)
        ]

    def _of(self, index: IndexCandidate) -> list[tuple[str, tuple[Any, ...]]]:
        return list(self._clone.indexes(_bare(index.table)))

    def _create(self, indexes: tuple[IndexCandidate, ...]) -> bool:
        """Create all of them or none."""
        for number, index in enumerate(indexes):
            made = f"CREATE INDEX tried_{number} ON {index.table} ({', '.join(index.columns)})"
            if not self._columns_exist(index) or not self._clone.try_execute(made):
                for other in range(number):
                    self._clone.try_execute(f"DROP INDEX tried_{other}")
                return False
        return True

    def _columns_exist(self, index: IndexCandidate) -> bool:
        """Whether the table has the columns: SQLite treats other quoted names as strings."""
        columns = {name.lower() for name in self._columns.get(_bare(index.table), ())}
        named = re.findall(r'"([^"]+)"', " ".join(index.columns))
        return bool(named) and all(name.lower() in columns for name in named)

    def _plan(self, indexes: tuple[IndexCandidate, ...]) -> list[PlanStep] | None:
        if not self._create(indexes):
            return None
        try:
            return self._clone.plan(self._sql, self._parameters)
        except ValueError:
            if not indexes:
                raise
            return None
        finally:
            for number, _ in enumerate(indexes):
                self._clone.try_execute(f"DROP INDEX tried_{number}")

    def _table(self, step: re.Match[str]) -> str:
        """The table of a step; empty for subqueries and the like."""
        table = self.tables.get(step[3] or step[2])
        return table.name if table else ""

    def _estimate_cost(self, plan: list[PlanStep], tried: tuple[IndexCandidate, ...]) -> float:
        read, sort = 0.0, False
        for _, _, detail in plan:
            if step := _STEP.match(detail):
                read += self._read(step, tried)
            # A sort for DISTINCT does not count: with an index every row is compared too.
            elif re.search(r"USE TEMP B-TREE FOR (?:ORDER|GROUP) BY", detail):
                sort = True
        return read + (read if sort else 0)

    def _read(self, step: re.Match[str], tried: tuple[IndexCandidate, ...]) -> float:
        """Rows read by one step."""
        rows = float(self._rows.get(self._table(step), 0))
        how = step[4] or ""
        if step[1] == "SCAN":
            # Without a LIMIT, each entry of a non-covering index needs a row lookup.
            return rows * 2 if how.startswith("INDEX") and not self._limited else rows
        if how.startswith("AUTOMATIC"):
            return rows  # rebuilt for each execution from the whole table
        equal, ranged = how.count("=?"), bool(re.search(r"[<>]\?", how))
        used = _USED.search(how)
        name = used[1] if used else ""
        if not equal and not ranged:
            return 1 if not name or self._is_min_max(name, tried) else rows
        figures = self._figures.get(name, [])
        if equal < len(figures) and figures[equal].isdigit():
            found = float(figures[equal])
        else:
            found = 1 if how.startswith("INTEGER PRIMARY KEY") and equal else rows * 0.1**equal
        return found * 0.25 if ranged else found

    def _is_min_max(self, name: str, tried: tuple[IndexCandidate, ...]) -> bool:
        """Whether min() or max() is at an index's end; plans say SEARCH even if not."""
        if name.startswith("tried_"):
            column = tried[int(name.removeprefix("tried_"))].columns[0].strip('"')
        else:
            column = self._clone.leading(name)
        wanted = rf"\b(?:min|max)\s*+\((?:\s*+[^\s.(]++\.)?\W*{re.escape(column)}[^\w)]*+\)"
        return re.search(wanted, self._sql, re.IGNORECASE) is not None


def _bare(name: str) -> str:
    return name[1:-1].replace('""', '"')


def _width(kind: str) -> int:
    return next((width for word, width in _WIDTHS.items() if kind.startswith(word)), _TEXT)
