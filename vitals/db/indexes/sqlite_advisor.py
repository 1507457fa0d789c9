"""Which indexes would make a statement cheaper on SQLite, tried out on an empty clone.

SQLite has no indexes to believe in and tells no costs. So candidates are built in a clone of the
schema, and ``EXPLAIN QUERY PLAN`` says whether the planner takes them. What that saves is reckoned
here, in rows: all of a table for a SCAN and again for sorting them; for a SEARCH what sqlite_stat1
says of the index, else a tenth for each equal column and a quarter for a range. Rows are not looked
at, so that how many share a value is an assumption: the advice says so.
"""

import re
from typing import Any

from sqlalchemy import Connection

from vitals.db.indexes import sql_clauses
from vitals.db.indexes.index_candidates import Index, candidates
from vitals.db.indexes.postgresql_advisor import GAIN, Advice, deep, search
from vitals.db.indexes.schema_clone import Clone, Detail, Schema, read
from vitals.db.statements.plans import Node

SMALL = 1_000
"""Rows that are read in no time, index or not."""

_STEP = re.compile(r"(SCAN|SEARCH) (?:TABLE )?(\S+)(?: AS (\S+))?(?: USING (.*))?$")
_USED = re.compile(r"INDEX (\S+)")
_WIDTHS = {"INT": 4, "REAL": 8, "FLOA": 8, "DOUB": 8, "BOOL": 1, "DATE": 20}
_TEXT, _ENTRY = 24, 10
"""Bytes of a value whose type tells nothing, and of an index's entry without its columns."""


def advise(connection: Connection, sql: str, parameters: Any = None) -> Advice:
    """Look for indexes that a statement lacks.

    Args:
        connection: To SQLite; of it, schema and statistics are read.
        sql: One statement, as the driver takes it.
        parameters: Its values.

    Raises:
        ValueError: The schema is too large to clone.
        sqlalchemy.exc.DBAPIError: The database refuses.
    """
    return on_clone(read(connection, sql), sql, parameters)


def on_clone(schema: Schema, sql: str, parameters: Any = None) -> Advice:
    """The same, when the schema was read; needs processor time and no database."""
    with Clone(schema) as clone:
        trial = _Trial(clone, schema, sql, parameters)
        try:
            before, _ = trial.cost(())
        except ValueError:
            why = "SQLite cannot plan this on a connection of its own: is it one whole statement?"
            return Advice([], 0, 0, notes=[why])
        if deep(sql, parameters):
            why = "a deep OFFSET reads all it skips: page by key, WHERE (a, b) > (:a, :b)"
            return Advice([], before, before, notes=[why])
        if before < SMALL:
            return Advice([], before, before, notes=trial.small())
        tried = candidates(sql_clauses.as_plan(sql, trial.about), lambda _table: {})
        chosen, after = search(trial, [_for_sqlite(index) for index in tried], before)
        if not chosen or after > before * (1 - GAIN):
            return Advice([], before, before)
        return Advice(
            [trial.named(index) for index in chosen],
            before,
            after,
            trial.size(chosen),
            [*trial.replaced(chosen), *_notes(schema)],
        )


def _for_sqlite(index: Index) -> Index:
    columns = (column.replace("text_pattern_ops", "COLLATE NOCASE") for column in index.columns)
    return Index(index.table.removeprefix('"main".'), tuple(columns))


def _notes(schema: Schema) -> list[str]:
    return [
        "costs are rows, reckoned without looking at them: where most share a value it helps less",
        "every write to the table keeps it up too; building it keeps all writers waiting"
        + ("; then run ANALYZE" if schema.statistics else ""),
    ]


class _Trial:
    """A clone in which indexes come and go."""

    def __init__(self, clone: Clone, schema: Schema, sql: str, parameters: Any) -> None:
        self._clone = clone
        self._sql = sql
        self._parameters = parameters
        self._names = {name for _, name, _ in schema.objects}
        self._rows = schema.rows
        self._figures = {index: figures.split() for _, index, figures in schema.statistics}
        self._costs: dict[tuple[Index, ...], float] = {}
        self._limited = re.search(r"\bLIMIT\b", sql, re.IGNORECASE) is not None
        self._columns = {name: clone.columns(name) for name in schema.rows}
        self.about = sql_clauses.tables(
            sql, {name: list(all_) for name, all_ in self._columns.items()}
        )

    def cost(self, indexes: tuple[Index, ...]) -> tuple[float, Node]:
        """Rows that are read or sorted with these indexes; infinite where one cannot be."""
        if indexes not in self._costs:
            plan = self._plan(indexes)
            self._costs[indexes] = float("inf") if plan is None else self._reckon(plan, indexes)
        return self._costs[indexes], {"possible": self._costs[indexes] < float("inf")}

    def used(self, indexes: tuple[Index, ...]) -> tuple[Index, ...]:
        """Which of these the planner takes when it has them all."""
        possible = tuple(index for index in indexes if self.cost((index,))[0] < float("inf"))
        text = "\n".join(detail for _, _, detail in self._plan(possible) or ())
        taken = set(_USED.findall(text))
        return tuple(index for number, index in enumerate(possible) if f"tried_{number}" in taken)

    def exists(self, index: Index) -> bool:
        """Whether an index of the whole table, or the table itself, begins with these columns."""
        if not self._make((index,)):
            return True  # it cannot be made, so there is nothing to try
        key = self._clone.key("tried_0")
        others = [key_ for name, key_ in self._of(index) if name != "tried_0"]
        self._clone.runs("DROP INDEX tried_0")
        return key[0][0] == -1 or any(other[: len(key)] == key for other in others)

    def named(self, index: Index) -> str:
        """SQL that makes it, with a name that is free."""
        words = re.findall(r"\w+", " ".join((index.table, *index.columns)))
        name = base = "_".join(["ix", *words]).lower()
        number = 1
        while name in self._names:
            number += 1
            name = f"{base}_{number}"
        self._names.add(name)
        return f'CREATE INDEX "{name}" ON {index.table} ({", ".join(index.columns)})'

    def replaced(self, indexes: tuple[Index, ...]) -> list[str]:
        """Which indexes there is no need of beside these."""
        found = []
        for index in indexes:
            self._make((index,))
            key = self._clone.key("tried_0")
            found += [
                f"{name} is then superfluous, unless it is unique: the new one begins like it"
                for name, other in self._of(index)
                if name in self._names and other == key[: len(other)]
            ]
            self._clone.runs("DROP INDEX tried_0")
        return found

    def size(self, indexes: tuple[Index, ...]) -> int:
        """Bytes, by the types of the columns."""
        total = 0
        for index in indexes:
            table = _bare(index.table)
            types = {f'"{name}"': kind.upper() for name, kind in self._columns[table].items()}
            widths = (types.get(column.split(" ")[0], "")[:4] for column in index.columns)
            entry = _ENTRY + sum(_width(kind) for kind in widths)
            total += self._rows[table] * entry
        return total

    def small(self) -> list[str]:
        """Why there is no need of an index, where a table is read in full."""
        scanned = {
            table
            for _, _, detail in self._plan(()) or ()
            if (step := _STEP.match(detail)) and step[1] == "SCAN" and (table := self._table(step))
        }
        return [
            f"{table} has about {self._rows[table]} rows: reading them all costs less than an "
            "index would"
            for table in sorted(scanned)
        ]

    def _of(self, index: Index) -> list[tuple[str, tuple[Any, ...]]]:
        return list(self._clone.indexes(_bare(index.table)))

    def _make(self, indexes: tuple[Index, ...]) -> bool:
        """Build all of them or none."""
        for number, index in enumerate(indexes):
            made = f"CREATE INDEX tried_{number} ON {index.table} ({', '.join(index.columns)})"
            if not self._known(index) or not self._clone.runs(made):
                for other in range(number):
                    self._clone.runs(f"DROP INDEX tried_{other}")
                return False
        return True

    def _known(self, index: Index) -> bool:
        """Whether the table has the columns: SQLite takes quoted names of none for texts."""
        columns = {name.lower() for name in self._columns.get(_bare(index.table), ())}
        named = re.findall(r'"([^"]+)"', " ".join(index.columns))
        return bool(named) and all(name.lower() in columns for name in named)

    def _plan(self, indexes: tuple[Index, ...]) -> list[Detail] | None:
        if not self._make(indexes):
            return None
        try:
            return self._clone.plan(self._sql, self._parameters)
        except ValueError:
            if not indexes:
                raise
            return None
        finally:
            for number, _ in enumerate(indexes):
                self._clone.runs(f"DROP INDEX tried_{number}")

    def _table(self, step: re.Match[str]) -> str:
        """The table of a step; empty for subqueries and what else has no rows of its own."""
        table = self.about.get(step[3] or step[2])
        return table.name if table else ""

    def _reckon(self, plan: list[Detail], tried: tuple[Index, ...]) -> float:
        read, sort = 0.0, False
        for _, _, detail in plan:
            if step := _STEP.match(detail):
                read += self._read(step, tried)
            # That of DISTINCT is passed by each row with an index too: no step is saved.
            elif re.search(r"USE TEMP B-TREE FOR (?:ORDER|GROUP) BY", detail):
                sort = True
        return read + (read if sort else 0)

    def _read(self, step: re.Match[str], tried: tuple[Index, ...]) -> float:
        """Rows that one step reads."""
        rows = float(self._rows.get(self._table(step), 0))
        how = step[4] or ""
        if step[1] == "SCAN":
            # Without a LIMIT each entry of an index that is not covering looks its row up.
            return rows * 2 if how.startswith("INDEX") and not self._limited else rows
        if how.startswith("AUTOMATIC"):
            return rows  # built anew each time, of the whole table
        equal, ranged = how.count("=?"), bool(re.search(r"[<>]\?", how))
        used = _USED.search(how)
        name = used[1] if used else ""
        if not equal and not ranged:
            return 1 if not name or self._extreme(name, tried) else rows
        figures = self._figures.get(name, [])
        if equal < len(figures) and figures[equal].isdigit():
            found = float(figures[equal])
        else:
            found = 1 if how.startswith("INTEGER PRIMARY KEY") and equal else rows * 0.1**equal
        return found * 0.25 if ranged else found

    def _extreme(self, name: str, tried: tuple[Index, ...]) -> bool:
        """Whether the least or greatest stands at an index's end; plans say SEARCH even if not."""
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
