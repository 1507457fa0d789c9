"""Times of one request: when it went from one phase to the next, and what it waited for meanwhile.

Probes only append; the seconds of each part are computed once, at the request's end. Parts never
overlap, and their sum is the request's wall time: while an operation is in progress, the time is
the operation's and not that of the code around it; of several at once, it is that of the one that
ends first, and then of those that go on.
"""

from collections.abc import Sequence
from time import perf_counter
from typing import Any

MAX_NOTES = 500
"""Waits, or changes of phase, of one request that are held; then they are summed up."""


PARTS = (
    "queue",
    "middleware",
    "receiving",
    "validation",
    "dependencies",
    "endpoint",
    "query",
    "pool_wait",
    "cache",
    "http_call",
    "lock",
    "thread",
    "serialisation",
    "error_handler",
    "streaming",
    "sending",
    "unattributed",
)
"""What a request's time is spent in, by number: values of the label ``part``."""

ATTRIBUTES = tuple(f"vitals.time.{part}" for part in PARTS)
"""Names of the parts' seconds as attributes of a request's span."""

QUEUE, MIDDLEWARE, RECEIVING, VALIDATION, DEPENDENCIES, ENDPOINT = range(6)
QUERY, POOL_WAIT, CACHE, HTTP_CALL, LOCK, THREAD = range(6, 12)
SERIALISATION, ERROR_HANDLER, STREAMING, SENDING, UNATTRIBUTED = range(12, 17)
# Phases follow one another; RECEIVING, and QUERY to THREAD, are waits within one; QUEUE is before.

ROUTING = UNATTRIBUTED
"""The phase between the router and what it has found, until it is renamed: it never may be."""

Mark = tuple[int, float]
"""A phase, and when it began, by ``perf_counter``."""
Wait = tuple[int, float, float]
"""A part, and when it began and ended."""
Seconds = list[float]
"""Seconds by the number of the part."""


class RequestTimes:
    """Times of one request in progress.

    Args:
        started: When it arrived, by ``perf_counter``.

    Attributes:
        marks: The phases so far, each with its beginning.
        waits: What it waited for, about in the order in which that ended.
        to_first_byte: Seconds by part until the first byte of a stream; None for others.
        cleanups: The stack of what cleans up after its dependencies; None if there is none.
    """

    __slots__ = ("_folded", "cleanups", "marks", "to_first_byte", "waits")

    def __init__(self, started: float) -> None:
        self.marks: list[Mark] = [(MIDDLEWARE, started)]
        self.waits: list[Wait] = []
        self.to_first_byte: Seconds | None = None
        self.cleanups: Any = None
        self._folded: Seconds | None = None

    def enter(self, phase: int) -> None:
        """Begin a phase now, which ends the one before."""
        self.marks.append((phase, perf_counter()))

    def rename(self, phase: int) -> None:
        """Call the current phase something else, from its beginning."""
        self.marks[-1] = (phase, self.marks[-1][1])

    def wait(self, part: int, started: float, ended: float) -> None:
        """Note an operation that has ended; thread-safe."""
        self.waits.append((part, started, ended))
        if len(self.waits) > MAX_NOTES:
            self.fold(ended)

    def fold(self, at: float) -> None:
        """Sum up what was until a moment, so that what is held stays bounded."""
        marks, waits = self.marks, self.waits
        self.marks, self.waits = [(marks[-1][0], at)], []
        self._folded = self._add(seconds_by_part(marks, waits, at))

    def sum(self, ended: float) -> Seconds:
        """Seconds by part until a moment; their sum is the time since the request arrived."""
        return self._add(seconds_by_part(self.marks, self.waits, ended))

    def _add(self, seconds: Seconds) -> Seconds:
        folded = self._folded
        if folded is None:
            return seconds
        return [before + each for before, each in zip(folded, seconds, strict=True)]


def seconds_by_part(marks: Sequence[Mark], waits: Sequence[Wait], ended: float) -> Seconds:
    """Seconds by part, without overlaps.

    Args:
        marks: The phases in their order; there is at least one.
        waits: Operations, about in the order in which they ended.
        ended: When the last phase ended; what is later is left out.
    """
    seconds = [0.0] * len(PARTS)
    phase, began = marks[0]
    covered: list[tuple[float, float]] = []
    last = began
    for part, start, end in waits:
        end = min(end, ended)  # noqa: PLW2901  # each call would cost
        if start >= last:
            if end > start:
                seconds[part] += end - start
                covered.append((start, end))
                last = end
        elif end > began:
            seconds[part] += _cover(covered, max(start, began), end)
            last = covered[-1][1]
    number, count = 0, len(covered)
    for following, until in (*marks[1:], (0, ended)):
        until = min(until, ended)  # noqa: PLW2901  # the same
        if until > began:
            spent = until - began
            while number < count:
                start, end = covered[number]
                if start >= until:
                    break
                spent -= (min(until, end)) - (max(began, start))
                if end > until:
                    break
                number += 1
            seconds[phase] += spent
            began = until
        phase = following
    return seconds


def _cover(covered: list[tuple[float, float]], start: float, end: float) -> float:
    """Add an interval to others, which ascend; the seconds of it that none of them covered."""
    left, low, high = end - start, start, end
    later: list[tuple[float, float]] = []
    while covered and covered[-1][1] > start:
        each = covered.pop()
        if each[0] >= end:  # of another thread, which was faster to say so
            later.append(each)
            continue
        left -= min(each[1], end) - max(each[0], start)
        low, high = min(low, each[0]), max(high, each[1])
    covered.append((low, high))
    covered.extend(reversed(later))
    return left


def time_attributes(seconds: Seconds) -> dict[str, float]:
    """Attributes of a request's span: the seconds of each part that there was."""
    return {name: round(spent, 6) for name, spent in zip(ATTRIBUTES, seconds, strict=True) if spent}
