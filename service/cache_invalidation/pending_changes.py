"""Pending changes of a session: rows that a flush or a statement writes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, inspect
from sqlalchemy.orm import ORMExecuteState, Session


@dataclass(frozen=True)
class Change:
    """A row that is written, or the unknown rows of a statement.

    Attributes:
        key: The row's primary key; None for unknown rows.
        columns: The columns written; None for all or unknown ones.
        row: The instance, where there is one.
    """

    key: Any = None
    columns: frozenset[str] | None = None
    row: Any = None

    def writes(self, columns: frozenset[str]) -> bool:
        """Return whether one of these columns may be written."""
        return self.columns is None or not self.columns.isdisjoint(columns)


Changes = Iterator[tuple[Table, Change]]


def flushed(session: Session) -> Changes:
    """Yield what a flush has written; call it in ``after_flush``, while the history is known."""
    for row in (*session.new, *session.deleted):
        yield _of(row, None)
    for row in session.dirty:
        attributes = inspect(row).attrs
        columns = frozenset(a.key for a in attributes if a.history.has_changes())
        if columns:
            yield _of(row, columns)


def executed(state: ORMExecuteState) -> Changes:
    """Yield what an INSERT, UPDATE or DELETE will write."""
    if not (state.is_insert or state.is_update or state.is_delete):
        return
    statement: Any = state.statement
    table = statement.table
    rows = state.parameters if isinstance(state.parameters, list) else []
    names = [column.key for column in table.primary_key]
    if state.is_update and rows and all(name in row for row in rows for name in names):
        for row in rows:  # by primary key
            columns = frozenset(row).difference(names)
            yield table, Change(_key([row[name] for name in names]), columns)
    else:
        yield table, Change()


def _of(row: Any, columns: frozenset[str] | None) -> tuple[Table, Change]:
    mapper = inspect(row).mapper
    key = _key(mapper.primary_key_from_instance(row))
    return mapper.local_table, Change(key, columns, row)


def _key(parts: list[Any]) -> Any:
    return parts[0] if len(parts) == 1 else tuple(parts)
