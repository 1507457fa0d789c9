"""Firings of an alert: Prometheus's semantics of ``for`` and ``keep_firing_for``."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Firing(NamedTuple):
    """One firing, by its start and end in Unix time."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.end - self.start


def true_intervals(moments: Sequence[float], step: float) -> Iterator[tuple[float, float]]:
    """First and last moment of each unbroken interval in which a condition was true.

    Args:
        moments: Unix times at which it was true, ascending, evaluated every ``step`` seconds.
        step: Seconds between two evaluations.
    """
    first = last = None
    for moment in moments:
        if last is None or moment - last > 1.5 * step:
            if first is not None and last is not None:
                yield first, last
            first = moment
        last = moment
    if first is not None and last is not None:
        yield first, last


def firings(
    moments: Sequence[float], step: float, *, for_: float, keep_firing_for: float
) -> list[Firing]:
    """When an alert would have fired.

    Args:
        moments: As for ``true_intervals``.
        step: The same.
        for_: Seconds that the condition must be true before it fires.
        keep_firing_for: Seconds that it keeps firing afterwards; a condition that is true again
            within them, however briefly, extends the same firing.
    """
    found: list[Firing] = []
    for first, last in true_intervals(moments, step):
        end = last + step + keep_firing_for
        if keep_firing_for and found and first <= found[-1].end:
            found[-1] = Firing(found[-1].start, end)
        elif last - first >= for_:
            found.append(Firing(first + for_, end))
    return found


def longest_interval(moments: Sequence[float], step: float) -> float:
    """The longest time in seconds that the condition was true without a break."""
    return max((last - first for first, last in true_intervals(moments, step)), default=0.0)
