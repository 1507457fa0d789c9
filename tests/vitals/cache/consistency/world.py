"""Three processes on one Redis and one database, in one event loop, with an adjustable clock."""

import asyncio
import itertools
import tempfile
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine
from redis import Redis as Client

from tests.vitals.cache.consistency.shop import CATEGORY, Clerk
from tests.vitals.cache.databases import AnyDatabase, ServiceDatabase

DEADLINE_SECONDS = 30.0
BUS_SECONDS = 5.0
"""Longest time that an L1 entry may be stale, on a busy machine."""
PROCESSES = 3
"""The last of them has an L1 cache."""
PRODUCTS = (1, 2)

Reading = tuple[asyncio.Task[int], int]
"""A read in progress, and the least price that it may return."""


class World(RuleBasedStateMachine):
    """The processes and their state.

    ``prices`` is what the database holds: the test decides what commits.
    """

    redis_url = ""
    opens: Callable[[str], AnyDatabase] = ServiceDatabase

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.url = f"sqlite+aiosqlite:///{Path(self.folder.name)}/shop.db"
        self.client: Any = Client.from_url(self.redis_url)
        self.client.flushall()
        self.now = 1000.0
        self.numbers = itertools.count(1)
        self.prices = dict.fromkeys(PRODUCTS, 0)
        self.clerks = [self.clerk(number) for number in range(PROCESSES)]
        self.under_way: dict[tuple[int, int], tuple[asyncio.Event, list[Reading]]] = {}
        self.run(self.open())

    def clerk(self, number: int) -> Clerk:
        has_l1 = number == PROCESSES - 1
        return Clerk(
            type(self).opens(self.url), self.redis_url, has_l1=has_l1, clock=lambda: self.now
        )

    async def open(self) -> None:
        database = self.clerks[0].database
        await database.create()
        async with database.writing() as session:
            for number in PRODUCTS:
                session.add(
                    database.product(
                        id=number,
                        name="Oak desk",
                        category=CATEGORY,
                        price_cents=0,
                        stock=1,
                        created_at=datetime.now(UTC),
                    )
                )
        for clerk in self.clerks:
            await clerk.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, DEADLINE_SECONDS))

    async def reads(self, clerk: Clerk, number: int) -> None:
        got = await clerk.price(number)
        late = self.loop.time() + BUS_SECONDS
        while clerk.has_l1 and got != self.prices[number] and self.loop.time() < late:
            await asyncio.sleep(0.005)
            got = await clerk.price(number)
        assert got == self.prices[number]

    def relay(self) -> None:
        """Let all connected processes relay the outbox."""
        for clerk in self.clerks:
            if not clerk.line.cut:
                self.run(clerk.invalidator._relay.relay())

    async def cut(self, *whom: int, cut: bool) -> None:
        for who in whom:
            self.clerks[who].line.set(cut=cut)

    def age(self, seconds: float) -> None:
        """Advance the time in Redis and in the processes."""
        self.now += seconds
        for key in self.client.scan_iter(count=1000):
            if key.endswith(b":writers"):
                for token, _ in self.client.zrange(key, 0, -1, withscores=True):
                    self.client.zincrby(key, -seconds * 1000, token)
            left = self.client.pttl(key)
            if left > 0:
                self.client.pexpire(key, max(int(left - seconds * 1000), 1))
