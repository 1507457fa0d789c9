"""How many connections are open at once while slow statements get their plans and advice."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Pool, event

from bench.advice.statements import Asked
from service.db.database import connect
from service.settings import Settings
from vitals.db.probe import QueryProbe
from vitals.metrics.meter import Meter
from vitals.objectives import Objective, Objectives

PLANS = 6
"""As many as are asked for in a minute."""
PATIENCE = 60.0


class Open:
    """Connections of all pools of this process."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def opened(self, *_: object) -> None:
        """One more."""
        self.now += 1
        self.most = max(self.most, self.now)

    def closed(self, *_: object) -> None:
        """One less."""
        self.now -= 1

    @contextmanager
    def counted(self) -> Iterator["Open"]:
        """Count while this is entered."""
        event.listen(Pool, "connect", self.opened)
        event.listen(Pool, "close", self.closed)
        try:
            yield self
        finally:
            event.remove(Pool, "connect", self.opened)
            event.remove(Pool, "close", self.closed)


async def most_at_once(settings: Settings, statements: Sequence[Asked]) -> int:
    """The most connections beside the one of the application, with each statement being slow."""
    database = connect(settings)
    probe = QueryProbe(Meter(), Objectives([Objective("queries", target=0.9, threshold=1e-9)]))
    try:
        with Open().counted() as connections:
            async with database.writer.connect() as one:
                probe.instrument(database.engine)
                async with asyncio.timeout(PATIENCE), probe.explain_worker.running():
                    for asked in statements[: PLANS + 2]:
                        await one.exec_driver_sql(asked.sql, asked.values)
                        await one.rollback()
                    while len(probe.plans) < PLANS:  # noqa: ASYNC110 - the table is not ours
                        await asyncio.sleep(0.1)
                return connections.most - 1
    finally:
        await database.close()
