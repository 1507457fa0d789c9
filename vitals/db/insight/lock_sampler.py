"""Who waited for whose lock, seen in samples while somebody reads the ranked list.

A wait is over before anybody thinks of looking, so it is looked for time and again: from a reading
of the list on for ten minutes, every five seconds. Whoever reads no list pays nothing.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from sqlalchemy import Connection

from vitals.db.dialect_hook import AnyEngine
from vitals.db.insight import locks
from vitals.db.insight.explain import CAREFULLY

EVERY = 5.0
"""Seconds between two samples; one connects, asks once and goes."""
WANTED = 600.0
"""Seconds that they go on after the list was read."""
PAIRS = 50
"""Pairs of statements that are remembered."""


@dataclass
class Waited:
    """A statement that was seen waiting for a session, all their sightings together.

    Attributes:
        waiting: The statement that waited, without its values.
        blocking: The last statement of the session that held the lock, likewise.
        state: What that session did when last seen: ``idle in transaction`` is forgotten.
        application: Its name.
        seen: Sightings; several sessions may wait in one sample.
        longest: Seconds.
        last: When it was seen last.
    """

    waiting: str
    blocking: str
    state: str
    application: str
    seen: int
    longest: float
    last: datetime


class LockWaits:
    """Samples of the lock waits of some databases, in bounded memory.

    Attributes:
        samples: How many were taken.
    """

    def __init__(self) -> None:
        self.samples = 0
        self._engines: list[AnyEngine] = []
        self._pairs: dict[tuple[str, str], Waited] = {}
        self._until = self._next = 0.0

    def watch(self, engine: AnyEngine) -> None:
        """Look at this database too, if it is one that tells."""
        if engine.dialect.name == "postgresql":
            self._engines.append(engine)

    def want(self) -> None:
        """Have samples taken for a while: somebody looks at them."""
        self._until = monotonic() + WANTED

    def due(self) -> list[AnyEngine]:
        """The databases to take a sample of now."""
        now = monotonic()
        if now >= self._until or now < self._next:
            return []
        self._next = now + EVERY
        return self._engines

    @staticmethod
    def look(connection: Connection) -> list[locks.Wait]:
        """Take a sample.

        Raises:
            sqlalchemy.exc.DBAPIError: The database does not answer.
        """
        for setting in CAREFULLY:
            connection.exec_driver_sql(setting)
        return locks.read(connection)

    def add(self, sample: list[locks.Wait]) -> None:
        """Remember who was seen waiting."""
        self.samples += 1
        for wait in sample:
            known = self._pairs.pop((wait.waiting, wait.blocking), None)
            self._pairs[wait.waiting, wait.blocking] = Waited(
                wait.waiting,
                wait.blocking,
                wait.state,
                wait.application,
                seen=known.seen + 1 if known else 1,
                longest=max(wait.waited, known.longest if known else 0.0),
                last=datetime.now(UTC),
            )
        while len(self._pairs) > PAIRS:
            del self._pairs[next(iter(self._pairs))]

    def as_json(self) -> dict[str, Any]:
        """What was seen, for programs."""
        waits = [asdict(each) | {"last": each.last.isoformat(timespec="seconds")} for each in self]
        return {"samples": self.samples, "waits": waits}

    def __iter__(self) -> Iterator[Waited]:
        """Those that waited longest first."""
        return iter(sorted(self._pairs.values(), key=lambda pair: -pair.longest))
