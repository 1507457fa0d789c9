"""Processes that read and write through the cache, and die: ``python -m`` this with a `Plan`.

One process imports everything and forks the workers, anew whenever one has killed itself.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.vitals.cache.consistency import mutations
from tests.vitals.cache.consistency.history import Event, Journal, Kind
from vitals.cache.cache import Cache
from vitals.cache.core.namespace import Namespace
from vitals.cache.reporter import CacheReporter
from vitals.metrics.meter import Meter

READERS, WRITERS = 6, 1
WINDOW_SECONDS = 0.25
HOT_KEYS = 8
"""Keys that are read at a time; then come the next, because a dead writer's intent keeps its keys
out of the cache for a while."""


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        redis: URL.
        database: URL; its table `number` has a row for every key.
        folder: For the journals.
        seconds: How long.
        processes: How many at once.
        deaths: Share of the writers that are killed between COMMIT and what follows it.
        l1_ttl: L1 TTL in seconds.
        mutation: Name of the mutation, if any.
        began: Monotonic seconds of the first window; set when everything is imported.
    """

    redis: str
    database: str
    folder: str
    seconds: float
    processes: int = 4
    deaths: float = 0.1
    l1_ttl: float = 0.0
    mutation: str = ""
    began: float = 0.0

    @property
    def keys(self) -> int:
        """How many keys there are."""
        return (int(self.seconds / WINDOW_SECONDS) + 2) * HOT_KEYS

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() > self.began + self.seconds

    def dumps(self) -> str:
        """As an argument."""
        return json.dumps(asdict(self))


class Worker:
    """One process' work.

    Args:
        plan: What to do.
        number: Which of the processes this is, over all that ever lived.
    """

    def __init__(self, plan: Plan, number: int) -> None:
        self._plan = plan
        self._chance = random.Random(number)  # noqa: S311 - a test
        self._journal = Journal(Path(plan.folder) / f"{number}.journal")
        self._meter = Meter()
        self._engine: AsyncEngine = create_async_engine(plan.database, pool_size=READERS)
        self._reader = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._cache = Cache(plan.redis, timeout=10)  # a busy machine is no dead Redis
        self._numbers: Namespace[int] = self._cache.namespace(
            "number",
            schema=int,
            ttl=60,
            l1_ttl=plan.l1_ttl,
            reporter=CacheReporter(self._meter, "number"),
        )
        self._release: Any = self._cache.release
        self._written = (0, 0, 0)

    async def run(self) -> None:
        """Read and write until the time is up, or the process kills itself."""
        self._cache.release = self._die_or_release  # type: ignore[method-assign]
        await self._cache.start()
        await asyncio.gather(
            *(self._reading() for _ in range(READERS)), *(self._writing() for _ in range(WRITERS))
        )
        await self._cache.close()
        await self._engine.dispose()

    def _key(self) -> int:
        window = int((time.monotonic() - self._plan.began) / WINDOW_SECONDS)
        if self._chance.random() < 0.3:  # older keys
            window -= self._chance.choice((1, 2))
        return (max(window, 0) * HOT_KEYS + self._chance.randrange(HOT_KEYS)) % self._plan.keys

    async def _reading(self) -> None:
        while not self._plan.over:
            key = self._key()

            async def load(key: int = key) -> int:
                async with self._reader.connect() as connection:
                    found = await connection.scalar(
                        text("SELECT n FROM number WHERE id = :id"), {"id": key}
                    )
                # Slow now and then, so that commits happen meanwhile.
                await asyncio.sleep(self._chance.choice((0, 0, 0.003, 0.02)))
                return int(found or 0)

            begin = time.monotonic_ns()
            number = await self._numbers.get(str(key), load)
            self._journal.write(Event(Kind.READ, key, number or 0, begin, time.monotonic_ns()))
            await asyncio.sleep(0)

    async def _writing(self) -> None:
        while not self._plan.over:
            key, begin = self._key(), time.monotonic_ns()
            async with self._engine.connect() as connection:
                number = await connection.scalar(
                    text("UPDATE number SET n = n + 1 WHERE id = :id RETURNING n"), {"id": key}
                )
                self._written = key, int(number or 0), begin
                async with self._cache.writing(self._numbers.entry(str(key))):
                    await connection.commit()
            await asyncio.sleep(self._chance.uniform(0, 0.03))

    async def _die_or_release(self, intent: Any) -> None:
        """Run after a commit; it is in the journal already when the process dies."""
        end = time.monotonic_ns()
        key, number, begin = self._written
        self._journal.write(Event(Kind.COMMIT, key, number, begin, end))
        if self._chance.random() < self._plan.deaths:
            self._journal.write(Event(Kind.DEATH, key, number, begin, end))
            os.kill(os.getpid(), signal.SIGKILL)
        await self._release(intent)


def _fork(plan: Plan, number: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        asyncio.run(Worker(plan, number).run())
    finally:
        os._exit(0)


def main() -> None:
    """Keep the processes alive until the time is up."""
    plan = Plan(**json.loads(sys.argv[1]) | {"began": time.monotonic()})
    mutations.apply(plan.mutation)
    alive = {_fork(plan, number) for number in range(plan.processes)}
    number = plan.processes
    while alive:
        pid, status = os.wait()
        alive.discard(pid)
        if os.WIFSIGNALED(status) and not plan.over:
            alive.add(_fork(plan, number))
            number += 1


if __name__ == "__main__":
    main()
