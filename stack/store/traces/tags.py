"""Names and values of attributes of spans, to choose from."""

import sqlite3
from collections.abc import Iterable

from stack.store.partitions.deadline import Deadline
from stack.store.partitions.store_files import StoreFiles
from stack.store.query.time_range import TimeRange
from stack.store.traces.traceql import INTRINSICS, Field

MAX_VALUES = 5_000
_FIXED = {"status": ("error", "ok", "unset")}
_SERVICE = Field("resource", "service.name")


def names(files: StoreFiles, time: TimeRange, deadline: Deadline) -> dict[str, list[str]]:
    """Names by scope.

    Raises:
        QueryTimeoutError: The deadline has passed.
    """
    found: dict[str, set[str]] = {"resource": set(), "span": set(), "event": set()}
    for partition in files.traces(time.start, time.end):
        with partition.reading(deadline) as database:
            for scope, name in database.execute("SELECT DISTINCT scope, name FROM tag"):
                if scope in found:
                    found[scope].add(name)
    return {scope: sorted(each) for scope, each in found.items()} | {"intrinsic": list(INTRINSICS)}


def values(
    files: StoreFiles, field: Field, time: TimeRange, deadline: Deadline
) -> list[tuple[str, str]]:
    """Types and values of a field.

    Raises:
        QueryTimeoutError: The deadline has passed.
    """
    if field.scope == "intrinsic" and field.name in _FIXED:
        return [("keyword", value) for value in _FIXED[field.name]]
    if field.scope == "intrinsic" and field.name == "rootServiceName":
        field = _SERVICE
    name = "name" if field == Field("intrinsic", "rootName") else field.name
    scopes = ("span", "resource") if field.scope == "any" else (field.scope, field.scope)
    found: set[tuple[str, str]] = set()
    for partition in files.traces(time.start, time.end):
        with partition.reading(deadline) as database:
            found.update(_values(database, scopes, name))
        if len(found) >= MAX_VALUES:
            break
    keyword = field == Field("intrinsic", "kind")
    return sorted(("keyword" if keyword else kind, value) for kind, value in found)[:MAX_VALUES]


def _values(
    database: sqlite3.Connection, scopes: tuple[str, str], name: str
) -> Iterable[tuple[str, str]]:
    query = "SELECT type, value FROM tag WHERE scope IN (?, ?) AND name = ?"
    return database.execute(query, (*scopes, name)).fetchall()
