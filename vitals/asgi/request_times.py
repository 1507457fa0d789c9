"""Times of one request: when it went from one phase to the next, and what it waited for meanwhile.

Parts never overlap, and their sum is the request's wall time: while an operation is in progress,
the time is the operation's and not that of the code around it; of several at once, it is that of
the one that ends first, and then of those that go on.

Every request pays for this, so each event adds what has passed since the one before to its part;
stretches of code are remembered in case that an operation that covers them ends later.
"""

from threading import get_ident
from time import perf_counter
from typing import Any

MAX_GAPS = 500
"""Stretches of code of one request that are remembered, and waits that threads have noted."""


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

_ZEROS = [0.0] * len(PARTS)
_LOST = _ZEROS.copy()
Gap = tuple[int, float, float]
"""A phase, and when a stretch of its code began and ended, by ``perf_counter``."""
Wait = tuple[int, float, float]
"""A part, and when it began and ended."""
Seconds = list[float]
"""Seconds by the number of the part."""


class RequestTimes:
    """Times of one request in progress.

    Args:
        started: When it arrived, by ``perf_counter``.

    Attributes:
        phase: The current phase.
        to_first_byte: Seconds by part until the first byte of a stream; None for others.
        cleanups: The stack of what cleans up after its dependencies; None if there is none.
    """

    # Defaults are class attributes: a request pays only for what it changes.
    phase = MIDDLEWARE
    to_first_byte: Seconds | None = None
    cleanups: Any = None
    _of_threads: list[Wait] | None = None

    def __init__(self, started: float) -> None:
        self._since = started
        self._seconds = _ZEROS.copy()
        self._gaps: list[Gap] = []
        self._thread = get_ident()

    def enter(self, phase: int) -> None:
        """Begin a phase now, which ends the one before."""
        now = perf_counter()
        before, since = self.phase, self._since
        self._seconds[before] += now - since
        self._gaps.append((before, since, now))
        self._since = now
        self.phase = phase

    def rename(self, phase: int) -> None:
        """Call the current phase something else, from its beginning."""
        before, self.phase = self.phase, phase
        gaps = self._gaps
        number = len(gaps)
        while number and gaps[number - 1][0] == before:
            number -= 1
            _, began, ended = gaps[number]
            self._seconds[before] -= ended - began
            self._seconds[phase] += ended - began
            gaps[number] = (phase, began, ended)

    def wait(self, part: int, started: float, ended: float) -> None:
        """Note an operation that has ended; thread-safe."""
        if get_ident() != self._thread:
            noted = self._of_threads
            if noted is None:
                noted = self._of_threads = []
            noted.append((part, started, ended))
            if len(noted) > MAX_GAPS:
                self._note_threads(ended)
        elif started >= (since := self._since):
            phase, seconds = self.phase, self._seconds
            seconds[phase] += started - since
            seconds[part] += ended - started
            self._gaps.append((phase, since, started))
            self._since = ended
            if len(self._gaps) > MAX_GAPS:
                self.forget()
        else:
            self._note_late(part, started, ended)

    def forget(self) -> None:
        """Forget the earlier stretches of code, so that what is held stays bounded."""
        del self._gaps[: -MAX_GAPS // 2]

    def until(self, at: float) -> Seconds:
        """Seconds by part until a moment; it goes on."""
        seconds = self.finish(at)
        self._seconds = seconds.copy()
        return seconds

    def finish(self, ended: float) -> Seconds:
        """Seconds by part; their sum is the time since it arrived. What is noted later is lost."""
        if self._of_threads is not None:
            self._note_threads(ended)
        seconds, since = self._seconds, self._since
        if ended > since:
            seconds[self.phase] += ended - since
            self._since = ended
        self._seconds = _LOST
        return seconds

    def _note_threads(self, ended: float) -> None:
        """Note what threads have noted, until a moment."""
        waits, self._of_threads = self._of_threads, None
        for part, start, end in waits or ():
            self._note_late(part, start, min(end, ended))
        self.forget()

    def _note_late(self, part: int, started: float, ended: float) -> None:
        """Note an operation during which others have ended, or the phase has changed."""
        seconds, gaps, since = self._seconds, self._gaps, self._since
        if ended > since:
            if started > since:
                seconds[self.phase] += started - since
                gaps.append((self.phase, since, started))
            seconds[part] += ended - max(started, since)
            self._since = ended
        later: list[Gap] = []
        while gaps and gaps[-1][2] > started:
            phase, began, until = gaps.pop()
            low, high = max(began, started), min(until, ended)
            if low >= high:
                later.append((phase, began, until))
                continue
            seconds[phase] -= high - low
            seconds[part] += high - low
            if until > high:
                later.append((phase, high, until))
            if began < low:
                later.append((phase, began, low))
        gaps.extend(reversed(later))


def time_attributes(seconds: Seconds) -> dict[str, float]:
    """Attributes of a request's span: the seconds of each part that there was."""
    return {name: round(spent, 6) for name, spent in zip(ATTRIBUTES, seconds, strict=True) if spent}
