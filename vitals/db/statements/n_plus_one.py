"""N+1 detection: a request that sends the same statement once per row.

The rules, tuned on true and false positives: five calls of one fingerprint from one call site, with
three different sets of values. A call site is eight frames of the stack, so a function called from
five different lines has five call sites. Not counted are executemany, an IN list or an array of
several values (what ``selectinload`` sends per batch), a LIMIT of ten or more (a loop over pages),
and retries, which send the same values again.

Detection starts with a statement's second call in a request and ends once an N+1 is found.
"""

import re
from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from vitals.db.statements.callsite import (
    Stack,
    application_stack,
    format_location,
    lazy_relationship,
)

MIN_CALLS = 5
MIN_DISTINCT_VALUES = 3
PAGE_LIMIT = 10
"""The LIMIT at or above which a repeated statement is a loop over pages."""

MAX_CHECKED_CALLS = 100
"""Calls checked per request before a statement is taken to be no N+1."""

_BIND = r"(?:\?|%s|%\(\w+\)s|\$\d+(?:::[\w.]+)?|:\w+|-?\d+(?:\.\d+)?|'(?:[^']|'')*')"
_LIST = re.compile(rf"\bIN\s*\(\s*{_BIND}\s*,|\bIN\s*\(\s*\(|\bIN\s*\(\s*VALUES\b", re.IGNORECASE)
_LIMIT = re.compile(
    r"\b(?:LIMIT|FETCH\s+(?:FIRST|NEXT))\s+"
    r"(?:(?P<number>\d+)|\$(?P<place>\d+)|(?P<next>\?|%s)|(?:%\(|:)(?P<name>\w+))",
    re.IGNORECASE,
)
_MAX_LENGTH = 20_000


class NPlusOne(NamedTuple):
    """An N+1 that was detected.

    Attributes:
        source: Its call site.
        relationship: The lazily loaded attribute, such as ``Order.items``; or empty.
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


class NPlusOneDetector:
    """Checks the calls of one statement in one request, from the second on."""

    __slots__ = ("_checked", "_stacks", "found")

    def __init__(self) -> None:
        self.found: NPlusOne | None = None
        self._checked = 0
        self._stacks: dict[Stack, tuple[int, set[Hashable]]] = {}

    @property
    def done(self) -> bool:
        """Whether no further call needs a check."""
        return self.found is not None or self._checked >= MAX_CHECKED_CALLS

    def check(self, sql: str, parameters: Any, context: Any) -> None:
        """Check one call; must run on the caller's stack, because it inspects it."""
        self._checked += 1
        if is_batch(sql, parameters, context):
            return
        stack = application_stack()
        calls, values = self._stacks.get(stack, (1, set()))  # the first call is not checked
        calls += 1
        if len(values) < MIN_DISTINCT_VALUES:
            values.add(_hash_values(parameters))
        self._stacks[stack] = (calls, values)
        if calls >= MIN_CALLS and len(values) >= MIN_DISTINCT_VALUES:
            self.found = NPlusOne(format_location(stack), lazy_relationship())
            self._stacks = {}


def is_batch(sql: str, parameters: Any, context: Any) -> bool:
    """Whether one call fetches or writes many rows by design."""
    style = getattr(context, "execute_style", None)
    if (style is not None and style.name != "EXECUTE") or len(sql) > _MAX_LENGTH:
        return True
    several, limit = _parse(sql)
    if several:
        return True
    values = parameters.values() if isinstance(parameters, Mapping) else parameters or ()
    if any(isinstance(value, list | tuple | set) and len(value) > 1 for value in values):
        return True
    return limit is not None and _limit_value(limit, parameters) >= PAGE_LIMIT


@lru_cache(maxsize=1_000)
def _parse(sql: str) -> tuple[bool, int | str | tuple[int] | None]:
    """Whether it has a list; and its LIMIT: a number, or the name or position of its bind."""
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


def _limit_value(limit: int | str | tuple[int], parameters: Any) -> int:
    if isinstance(limit, int):
        return limit
    try:
        value = parameters[limit if isinstance(limit, str) else limit[0]]
    except (LookupError, TypeError):
        return 0
    return value if isinstance(value, int) else 0


def _hash_values(parameters: Any) -> Hashable:
    """Hash that distinguishes values without storing them."""
    values = parameters.values() if isinstance(parameters, Mapping) else parameters or ()
    try:
        return hash(tuple(values))
    except TypeError:
        return hash(repr(parameters))
