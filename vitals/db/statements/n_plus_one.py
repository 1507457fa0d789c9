"""N+1: a request that sends one statement once a row.

The rules, tuned on true and innocent cases: five calls of one fingerprint from one place of the
application, with three different sets of values. A place is eight frames of the stack, so that a
helper called from five different lines is five places. Not counted are executemany, an IN list
or an array of several values (what ``selectinload`` sends for each batch) and a LIMIT of ten or
more (a loop over pages). A retry sends the same values again.

Nothing is looked at before a statement's second call in a request, and no more once it is found.
"""

import re
from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from vitals.db.statements.callsite import Stack, line, relationship, stack

CALLS = 5
VALUES = 3
PAGE = 10
"""The LIMIT from which on a repeated statement is a loop over pages."""

LOOKS = 100
"""Calls that are looked at before a statement counts as innocent in this request."""

_BIND = r"(?:\?|%s|%\(\w+\)s|\$\d+(?:::[\w.]+)?|:\w+|-?\d+(?:\.\d+)?|'(?:[^']|'')*')"
_LIST = re.compile(rf"\bIN\s*\(\s*{_BIND}\s*,|\bIN\s*\(\s*\(|\bIN\s*\(\s*VALUES\b", re.IGNORECASE)
_LIMIT = re.compile(
    r"\b(?:LIMIT|FETCH\s+(?:FIRST|NEXT))\s+"
    r"(?:(?P<number>\d+)|\$(?P<place>\d+)|(?P<next>\?|%s)|(?:%\(|:)(?P<name>\w+))",
    re.IGNORECASE,
)
_LONGEST = 20_000


class Repeat(NamedTuple):
    """A statement that was sent once a row.

    Attributes:
        source: The line of the application that sent it.
        relationship: The attribute that was loaded lazily, such as ``Order.items``; or empty.
    """

    source: str
    relationship: str

    def advice(self, operation: str) -> str:
        """What to write instead."""
        if self.relationship:
            return f".options(selectinload({self.relationship}))"
        if operation == "INSERT":
            return "send all rows in one execute(insert(...), rows)"
        return "send one statement for all rows: WHERE ... IN (...), or a join"


class Watch:
    """The calls of one statement in one request, from its second on."""

    __slots__ = ("_looks", "_places", "found")

    def __init__(self) -> None:
        self.found: Repeat | None = None
        self._looks = 0
        self._places: dict[Stack, tuple[int, set[Hashable]]] = {}

    @property
    def over(self) -> bool:
        """Whether there is nothing more to find."""
        return self.found is not None or self._looks >= LOOKS

    def look(self, sql: str, parameters: Any, context: Any) -> None:
        """Take a call into account; called where it was made, for its stack is read."""
        self._looks += 1
        if is_batch(sql, parameters, context):
            return
        place = stack()
        calls, values = self._places.get(place, (1, set()))  # the first call was not looked at
        calls += 1
        if len(values) < VALUES:
            values.add(_digest(parameters))
        self._places[place] = (calls, values)
        if calls >= CALLS and len(values) >= VALUES:
            self.found = Repeat(line(place), relationship())
            self._places = {}


def is_batch(sql: str, parameters: Any, context: Any) -> bool:
    """Whether one call fetches or writes many rows by design."""
    style = getattr(context, "execute_style", None)
    if (style is not None and style.name != "EXECUTE") or len(sql) > _LONGEST:
        return True
    several, limit = _shape(sql)
    if several:
        return True
    values = parameters.values() if isinstance(parameters, Mapping) else parameters or ()
    if any(isinstance(value, list | tuple | set) and len(value) > 1 for value in values):
        return True
    return limit is not None and _number(limit, parameters) >= PAGE


@lru_cache(maxsize=1_000)
def _shape(sql: str) -> tuple[bool, int | str | tuple[int] | None]:
    """Whether it has a list; and its LIMIT: a number, or the name or the place of its value."""
    found = _LIMIT.search(sql)
    limit: int | str | tuple[int] | None = None
    if found is not None:
        if found["number"]:
            limit = int(found["number"])
        elif found["place"]:
            limit = (int(found["place"]) - 1,)
        else:
            limit = found["name"] or (sql.count(found["next"], 0, found.start("next")),)
    return _LIST.search(sql) is not None, limit


def _number(limit: int | str | tuple[int], parameters: Any) -> int:
    if isinstance(limit, int):
        return limit
    try:
        value = parameters[limit if isinstance(limit, str) else limit[0]]
    except (LookupError, TypeError):
        return 0
    return value if isinstance(value, int) else 0


def _digest(parameters: Any) -> Hashable:
    """Tells values apart without keeping them."""
    values = parameters.values() if isinstance(parameters, Mapping) else parameters or ()
    try:
        return hash(tuple(values))
    except TypeError:
        return hash(repr(parameters))
