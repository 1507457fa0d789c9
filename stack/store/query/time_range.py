"""Times that a query asks for, in nanoseconds since 1970."""

from dataclasses import dataclass

EVER = 2**63 - 1
"""A moment after all others."""


@dataclass(frozen=True)
class TimeRange:
    """A time.

    Attributes:
        start: Its first moment.
        end: Its last one; for log lines the one after it, as in Loki.
    """

    start: int
    end: int


ALWAYS = TimeRange(0, EVER)


@dataclass(frozen=True)
class Steps(TimeRange):
    """Moments at the same distance.

    Attributes:
        step: The distance.
    """

    step: int
