"""Maximum number of open connections while slow statements get their plans and advice."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Pool, event

from bench.advice.statements import Statement
from service.db.database import connect
from service.settings import Settings
from vitals.db.probe import QueryProbe
from vitals.metrics.meter import Meter
from vitals.objectives import Objective, Objectives

PLANS = 6
"""As many as are requested in a minute."""
TIMEOUT = 60.0


class ConnectionCounter:
    """Counts the open connections of all pools of this process."""

    def __init__(self) -> None:
        self.now = self.maximum = 0

    def opened(self, *_: object) -> None:
        """Count an opened connection."""
        self.now += 1
        self.maximum = max(self.maximum, self.now)

    def closed(self, *_: object) -> None:
        """Count a closed connection."""
        self.now -= 1

    @contextmanager
    def counted(self) -> Iterator["ConnectionCounter"]:
        """Count while the block runs."""
        event.listen(Pool, "connect", self.opened)
        event.listen(Pool, "close", self.closed)
        try:
            yield self
        finally:
            event.remove(Pool, "connect", self.opened)
            event.remove(Pool, "close", self.closed)


async def max_connections(settings: Settings, statements: Sequence[Statement]) -> int:
    """Maximum number of connections beside the application's one, with every statement slow."""
    database = connect(settings)
    probe = QueryProbe(Meter(), Objectives([Objective("queries", ratio=0.9, within=1e-9)]))
    try:
        with ConnectionCounter().counted() as connections:
            async with database.writer.connect() as one:
                probe.instrument(database.engine)
                async with asyncio.timeout(TIMEOUT), probe.explain_worker.running():
                    for statement in statements[: PLANS + 2]:
                        await one.exec_driver_sql(statement.sql, statement.values)
                        await one.rollback()
                    while len(probe.plans) < PLANS:  # noqa: ASYNC110 - it has no event to wait for
                        await asyncio.sleep(0.1)
                return connections.maximum - 1
    finally:
        await database.close()
