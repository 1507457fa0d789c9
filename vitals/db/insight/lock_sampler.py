"""Lock sampler: samples lock waits while the bottlenecks page is in use.

A wait is over before anyone looks for it, so samples are taken every five seconds, for ten minutes
after each read of the page. There is no overhead unless the page is read.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Engine

from vitals.db.engines import AnyEngine, root_engine
from vitals.db.insight import locks
from vitals.db.insight.explain import TRANSACTION_SETTINGS

INTERVAL = 5.0
"""Seconds between two samples; each opens a connection for one query."""
SAMPLING_PERIOD = 600.0
"""Seconds for which sampling continues after the page was read."""
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
        samples: Number of samples taken.
    """

    def __init__(self) -> None:
        self.samples = 0
        self._engines: WeakSet[Engine] = WeakSet()
        self._pairs: dict[tuple[str, str], SampledWait] = {}
        self._until = self._next = 0.0

    def add_engine(self, engine: AnyEngine) -> None:
        """Add an engine to be sampled, weakly held; PostgreSQL only."""
        if engine.dialect.name == "postgresql":
            self._engines.add(root_engine(engine))

    def request_samples(self) -> None:
        """Start or extend sampling for ``SAMPLING_PERIOD``."""
        self._until = monotonic() + SAMPLING_PERIOD

    def due(self) -> list[Engine]:
        """Engines to sample now."""
        now = monotonic()
        if now >= self._until or now < self._next:
            return []
        self._next = now + INTERVAL
        return list(self._engines)

    @staticmethod
    def sample(connection: Connection) -> list[locks.LockWait]:
        """Take a sample.

        Raises:
            sqlalchemy.exc.DBAPIError: The query failed.
        """
        for setting in TRANSACTION_SETTINGS:
            connection.exec_driver_sql(setting)
        return locks.read(connection)

    def add(self, sample: list[locks.LockWait]) -> None:
        """Aggregate a sample."""
        self.samples += 1
        for wait in sample:
            known = self._pairs.pop((wait.waiting, wait.blocking), None)
            self._pairs[wait.waiting, wait.blocking] = SampledWait(
                wait.waiting,
                wait.blocking,
                wait.state,
                wait.application,
                count=known.count + 1 if known else 1,
                longest=max(wait.waited, known.longest if known else 0.0),
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
