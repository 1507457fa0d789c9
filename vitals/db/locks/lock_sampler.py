"""Lock sampler: lock waits that were sampled, for the bottlenecks page.

A wait is over before anyone looks for it, so the samples of the lock watch are kept.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from vitals.db.locks import lock_waits

MAX_PAIRS = 50
"""Pairs of waiting and blocking statements that are kept."""


@dataclass
class SampledWait:
    """A waiting and a blocking statement, aggregated over samples.

    Attributes:
        waiting: The statement that waited, without its values.
        blocking: The last statement of the blocking session, without its values.
        state: State of the blocking session in the last sample, such as ``idle in transaction``.
        application: Application name of the blocking session.
        count: Observations; several sessions may wait in one sample.
        longest: Longest wait, in seconds.
        last: Time of the last observation.
    """

    waiting: str
    blocking: str
    state: str
    application: str
    count: int
    longest: float
    last: datetime


class LockSampler:
    """Samples of the lock waits of several databases, in bounded memory.

    Attributes:
        samples: Number of samples taken by this process.
        latest: The waits of the last sample.
    """

    def __init__(self) -> None:
        self.samples = 0
        self.latest: list[lock_waits.LockWait] = []
        self._pairs: dict[tuple[str, str], SampledWait] = {}

    def add(self, sample: list[lock_waits.LockWait]) -> None:
        """Aggregate a sample."""
        self.samples += 1
        self.latest = sample
        for wait in sample:
            known = self._pairs.pop((wait.waiting, wait.blocking), None)
            self._pairs[wait.waiting, wait.blocking] = SampledWait(
                wait.waiting,
                wait.blocking,
                wait.state,
                wait.application,
                count=known.count + 1 if known else 1,
                longest=max(wait.waited or 0.0, known.longest if known else 0.0),
                last=datetime.now(UTC),
            )
        while len(self._pairs) > MAX_PAIRS:
            del self._pairs[next(iter(self._pairs))]

    def as_json(self) -> dict[str, Any]:
        """The samples as JSON."""
        waits = [asdict(each) | {"last": each.last.isoformat(timespec="seconds")} for each in self]
        return {"samples": self.samples, "waits": waits}

    def __iter__(self) -> Iterator[SampledWait]:
        """Iterate over the waits, the longest first."""
        return iter(sorted(self._pairs.values(), key=lambda pair: -pair.longest))
