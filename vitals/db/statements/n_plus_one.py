"""N+1 detection: a request that sends the same statement once per row.

The rules, tuned on true and false positives: five calls of one fingerprint from one call site, in a
burst, with three different sets of values, bound or literal. A call site is eight frames of the
stack, so a function called from five different lines has five call sites. Not counted are
executemany, an IN list or an array of several values (what ``selectinload`` sends per batch), a
LIMIT of ten or more (a loop over pages), retries, which send the same values again, and a poll,
which pauses between its calls.

Detection starts with a statement's second call in a request and ends once an N+1 is found.
"""

import re
from collections import deque
from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from vitals.db.statements.callsite import (
    Stack,
    application_stack,
    format_location,
    lazy_relationship,
)
from vitals.db.statements.fingerprint import literals

MIN_CALLS = 5
MIN_DISTINCT_VALUES = 3
PAGE_LIMIT = 10
"""The LIMIT at or above which a repeated statement is a loop over pages."""

MAX_IDLE = 0.1
"""Seconds that the calls of a burst may be idle in between, all together."""
MAX_PAUSE = 2.0
"""Seconds between the first and the last call of a burst, queries and computing included: of a busy
process it is hard to say whether a request pauses."""

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


class Moment(NamedTuple):
    """When a call has ended.

    Attributes:
        now: Seconds of ``perf_counter``.
        idle: Seconds on a clock that stands still while the process computes or the request waits
            for a database or a connection. On a loaded server, calls of a burst are far apart.
    """

    now: float
    idle: float


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

    __slots__ = ("_checked", "_first", "_sites", "found")

    def __init__(self) -> None:
        self.found: NPlusOne | None = None
        self._checked = 0
        self._first = ""
        self._sites: dict[Stack, _CallSite] = {}

    @property
    def done(self) -> bool:
        """Whether no further call needs a check."""
        return self.found is not None or self._checked >= MAX_CHECKED_CALLS

    def check(self, sql: str, parameters: Any, context: Any, moment: Moment | None = None) -> None:
        """Check one call; must run on the caller's stack, because it inspects it.

        Args:
            sql: The statement as sent to the driver.
            parameters: Its values.
            context: SQLAlchemy's execution context, or None.
            moment: When it ended; None if pauses do not matter.
        """
        self._checked += 1
        if is_batch(sql, parameters, context):
            return
        stack = application_stack()
        site = self._sites.get(stack)
        if site is None:
            site = self._sites[stack] = _CallSite()
        site.add(moment)
        if len(site.values) < MIN_DISTINCT_VALUES:
            site.values.add(self._hash_values(sql, parameters, context))
        if site.is_burst and len(site.values) >= MIN_DISTINCT_VALUES:
            self.found = NPlusOne(format_location(stack), lazy_relationship())
            self._sites = {}

    def _hash_values(self, sql: str, parameters: Any, context: Any) -> Hashable:
        """Hash that distinguishes values, bound or literal, without storing them."""
        self._first = self._first or sql
        if sql == self._first:  # of a compiled statement, always
            return _hash_values(parameters)
        system = getattr(getattr(context, "dialect", None), "name", "")
        own, first = literals(sql, system), literals(self._first, system)
        return _hash_values(parameters) if own == first else hash((own, _hash_values(parameters)))


class _CallSite:
    """The newest calls from one call site: as many as make an N+1 with the one not checked."""

    __slots__ = ("_moments", "values")

    def __init__(self) -> None:
        self._moments: deque[Moment | None] = deque(maxlen=MIN_CALLS - 1)
        self.values: set[Hashable] = set()

    def add(self, moment: Moment | None) -> None:
        """Add a call; after a pause, a new burst begins."""
        if self._moments and not _close(self._moments[-1], moment):
            self._moments.clear()
            self.values.clear()
        self._moments.append(moment)

    @property
    def is_burst(self) -> bool:
        """Whether there are enough calls, with hardly a pause between them."""
        calls = self._moments
        return len(calls) == calls.maxlen and _close(calls[0], calls[-1])


def _close(first: Moment | None, last: Moment | None) -> bool:
    return (
        first is None
        or last is None
        or (last.idle - first.idle <= MAX_IDLE and last.now - first.now <= MAX_PAUSE)
    )


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
