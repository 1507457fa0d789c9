"""Firings of an alert, as Prometheus computes them from ``for`` and ``keep_firing_for``."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Firing(NamedTuple):
    """One firing of an alert.

    Attributes:
        start: Unix time.
        end: Unix time.
        labels: Those of its series, as text.
    """

    start: float
    end: float
    labels: str = ""

    @property
    def seconds(self) -> float:
        """Its duration."""
        return self.end - self.start


def intervals(times: Sequence[float], step: float) -> Iterator[tuple[float, float]]:
    """First and last time of each uninterrupted interval in which a condition was true.

    Args:
        times: Ascending Unix times at which it was true, evaluated every ``step`` seconds.
        step: Seconds between two evaluations.
    """
    first = last = None
    for time in times:
        if last is None or time - last > 1.5 * step:
            if first is not None and last is not None:
                yield first, last
            first = time
        last = time
    if first is not None and last is not None:
        yield first, last


def firings_of(
    times: Sequence[float], step: float, *, lasting: float, keep_firing: float
) -> list[Firing]:
    """The firings of an alert.

    Args:
        times: As for ``intervals``.
        step: The same.
        lasting: Seconds of ``for``.
        keep_firing: Seconds of ``keep_firing_for``; a condition that is true again within them
            continues the same firing.
    """
    found: list[Firing] = []
    for first, last in intervals(times, step):
        over = last + step + keep_firing
        if keep_firing and found and first <= found[-1].end:
            found[-1] = Firing(found[-1].start, over)
        elif last - first >= lasting:
            found.append(Firing(first + lasting, over))
    return found


def longest_interval(times: Sequence[float], step: float) -> float:
    """The longest uninterrupted time in seconds that the condition was true."""
    return max((last - first for first, last in intervals(times, step)), default=0.0)
