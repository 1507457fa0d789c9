"""Samples of metrics, and what bounds their number."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from vitals.metrics.catalogue import OTHER
from vitals.metrics.declarations import AnyMetric


class Sample(NamedTuple):
    """One value of a metric.

    Attributes:
        metric: Its declaration.
        labels: The values of its labels.
        value: The value, or the count so far.
    """

    metric: AnyMetric
    labels: tuple[str, ...]
    value: float


class BoundedCounts:
    """Counts by name that only rise: of so many names, and ``__other__`` for the rest.

    A server's counts start again when it does, and a name may move to ``__other__`` and back. So
    what was counted between two readings is added up here, and no series ever falls.

    Args:
        metrics: The counters, in the order of the values.
        limit: Names with series of their own.
    """

    def __init__(self, metrics: tuple[AnyMetric, ...], limit: int) -> None:
        self._metrics = metrics
        self._limit = limit
        self._last: dict[Hashable, tuple[float, ...]] = {}
        self._counts: dict[tuple[str, ...], list[float]] = {}
        self._scores: dict[tuple[str, ...], float] = {}
        self._started = False

    @property
    def shown(self) -> set[tuple[str, ...]]:
        """The labels that have series of their own."""
        return {labels for labels in self._counts if OTHER not in labels}

    def add(self, found: Mapping[Hashable, tuple[tuple[str, ...], tuple[float, ...]]]) -> None:
        """Add a reading.

        Args:
            found: By a key of the server: the labels, and the counts since the server's start, the
                first of which says how much the labels matter.
        """
        rises: dict[tuple[str, ...], list[float]] = defaultdict(lambda: [0.0] * len(self._metrics))
        ranks: dict[tuple[str, ...], float] = defaultdict(float)
        for key, (labels, counts) in found.items():
            last = self._last.get(key)
            if last is None or any(now < before for now, before in zip(counts, last, strict=True)):
                last = (0.0,) * len(counts)
            rise = [now - before for now, before in zip(counts, last, strict=True)]
            ranks[labels] += rise[0]
            if self._started:
                rises[labels] = [sum(pair) for pair in zip(rises[labels], rise, strict=True)]
        self._last = {key: counts for key, (_, counts) in found.items()}
        self._started = True
        self._choose(ranks)
        for labels, rise in rises.items():
            if labels not in self._counts:
                labels = (OTHER,) * len(labels)  # noqa: PLW2901
                self._counts.setdefault(labels, [0.0] * len(self._metrics))
            counted = self._counts[labels]
            counted[:] = [sum(pair) for pair in zip(counted, rise, strict=True)]

    def samples(self) -> Iterator[Sample]:
        """The counts."""
        for labels, counts in self._counts.items():
            for metric, count in zip(self._metrics, counts, strict=True):
                yield Sample(metric, labels, count)

    def _choose(self, ranks: Mapping[tuple[str, ...], float]) -> None:
        """Give series to those that matter most lately; one that has them keeps them for long."""
        scores = {
            labels: self._scores.get(labels, 0.0) * _DECAY + rank
            for labels, rank in ranks.items()
            if OTHER not in labels
        }
        self._scores = scores
        for labels in self.shown - scores.keys():
            del self._counts[labels]
        inside = sorted(self.shown, key=lambda labels: scores[labels])
        outside = sorted(scores.keys() - self.shown, key=lambda labels: -scores[labels])
        for labels in outside[: self._limit]:
            if len(self.shown) >= self._limit:
                if not inside or scores[labels] <= _BETTER * scores[inside[0]]:
                    break
                del self._counts[inside.pop(0)]
            self._counts[labels] = [0.0] * len(self._metrics)


_DECAY = 0.97
"""Of a reading every half minute: after twelve minutes, half as much."""
_BETTER = 2.0
"""How much more another one must matter to take a place, so that places do not change all the
time."""


def largest(
    rows: Iterable[tuple[str, tuple[float, ...]]], limit: int
) -> list[tuple[str, tuple[float, ...]]]:
    """The rows with the largest first value, and the sums of the others as ``__other__``."""
    ranked = sorted(rows, key=lambda row: -row[1][0])
    rest: list[Any] = [values for _, values in ranked[limit:]]
    summed = [(OTHER, tuple(map(sum, zip(*rest, strict=True))))] if rest else []
    return [*ranked[:limit], *summed]
