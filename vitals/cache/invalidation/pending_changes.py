"""Pending changes of a session: rows that a flush or a statement writes."""

from collections.abc import Iterator, KeysView, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, inspect
from sqlalchemy.orm import ORMExecuteState, Session


@dataclass(frozen=True)
class Change:
    """A row that is written, or the unknown rows of a statement.

    Attributes:
        key: The row's primary key, a tuple if it has several columns; None for unknown rows.
        columns: The attributes written; None for all or unknown ones.
        row: The instance, where there is one.
    """

    key: Any = None
    columns: frozenset[str] | None = None
    row: Any = None

    def writes(self, columns: frozenset[str]) -> bool:
        """Return whether one of these columns may be written."""
        return self.columns is None or not self.columns.isdisjoint(columns)

    def values(self, column: str) -> tuple[Any, ...] | None:
        """Return the values of a column before and after the change; None if they are unknown.

        Unknown are those of a statement, and of an attribute that was set without being loaded.
        """
        if self.row is None:
            return None
        state = inspect(self.row)
        history = state.attrs[column].history
        if history.added and not history.deleted and state.key is not None:
            return None
        return (*history.added, *history.deleted, *history.unchanged) or None


Changes = Iterator[tuple[Table, Change, Mapping[str, Any]]]
"""The table of each change, and the arguments of ``Session.get_bind`` for it."""


def flushed(session: Session, watched: KeysView[Table]) -> Changes:
    """Yield what a flush has written; call it in ``after_flush``, while the history is known.

    Args:
        session: That flushes.
        watched: Tables whose changes matter; the history of other rows is not computed.
    """
    for row in (*session.new, *session.deleted):
        if not watched.isdisjoint(inspect(row).mapper.tables):
            yield from _of(row, None)
    for row in session.dirty:
        state = inspect(row)
        if watched.isdisjoint(state.mapper.tables):
            continue
        columns = frozenset(a.key for a in state.attrs if a.history.has_changes())
        if columns:
            yield from _of(row, columns)


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
            yield table, Change(_key([row[name] for name in names]), columns), state.bind_arguments
    else:
        yield table, Change(), state.bind_arguments


def _of(row: Any, columns: frozenset[str] | None) -> Changes:
    state = inspect(row)
    mapper = state.mapper
    key = _key(mapper.primary_key_from_instance(row))
    before = key if state.identity is None else _key(list(state.identity))
    for table in mapper.tables:  # several, if its class inherits from another one
        for each in dict.fromkeys((key, before)):  # it may be the primary key that changed
            yield table, Change(each, columns, row), {"mapper": mapper}


def _key(parts: list[Any]) -> Any:
    return parts[0] if len(parts) == 1 else tuple(parts)
