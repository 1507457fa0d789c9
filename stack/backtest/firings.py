"""When an alert would have fired: what Prometheus does with ``for`` and ``keep_firing_for``."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Episode(NamedTuple):
    """One time of firing; Unix times."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.end - self.start


def spells(moments: Sequence[float], step: float) -> Iterator[tuple[float, float]]:
    """First and last moment of each unbroken spell in which a condition held.

    Args:
        moments: Unix times at which it held, ascending, from an evaluation every ``step`` seconds.
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


def episodes(
    moments: Sequence[float], step: float, *, lasting: float, keep_firing: float
) -> list[Episode]:
    """When an alert would have fired.

    Args:
        moments: As for ``spells``.
        step: The same.
        lasting: Seconds that the condition must hold before it fires.
        keep_firing: Seconds that it goes on firing afterwards; what holds again within them, for
            however short a time, goes on with the same firing.
    """
    found: list[Episode] = []
    for first, last in spells(moments, step):
        over = last + step + keep_firing
        if keep_firing and found and first <= found[-1].end:
            found[-1] = Episode(found[-1].start, over)
        elif last - first >= lasting:
            found.append(Episode(first + lasting, over))
    return found


def longest_spell(moments: Sequence[float], step: float) -> float:
    """The longest time in seconds that the condition held without a break."""
    return max((last - first for first, last in spells(moments, step)), default=0.0)
