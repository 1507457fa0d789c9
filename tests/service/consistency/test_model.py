"""Whatever happens in whatever order, what is read is what the database holds.

`VITALS_MODEL_EXAMPLES` tries more histories, and others each time.
"""

import asyncio
import itertools
import os
import tempfile
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from redis import Redis as Client

from service.cache import lease
from service.coherence.outbox import OwedMark
from service.database import Base
from service.products.tables import Product
from tests.servers import Redis
from tests.service.consistency.shop import Clerk, category_of

EXAMPLES = int(os.environ.get("VITALS_MODEL_EXAMPLES", "0"))
PATIENT = 30.0
BUS_SECONDS = 5.0
"""So late a value in a process may be, on a busy machine."""
PROCESSES = 3
"""The last of them keeps values near, too."""
PRODUCTS = (1, 2)

process = st.integers(0, PROCESSES - 1)
product = st.sampled_from(PRODUCTS)


class Model(RuleBasedStateMachine):
    """Three processes on one Redis and one database.

    ``prices`` is what the database holds: it is known to the test, which decides what commits.
    """

    redis_url = ""

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
        self.under_way: dict[tuple[int, int], tuple[asyncio.Task[int], asyncio.Event, int]] = {}
        self.run(self.open())

    def clerk(self, number: int) -> Clerk:
        near = number == PROCESSES - 1
        return Clerk(self.url, self.redis_url, near=near, clock=lambda: self.now)

    async def open(self) -> None:
        tables: list[Any] = [Product.__table__, OwedMark.__table__]
        database = self.clerks[0].database
        async with database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all, tables=tables)
        async with database.writing() as session:
            for number in PRODUCTS:
                session.add(
                    Product(
                        id=number,
                        name="Oak desk",
                        category=category_of(number),
                        price_cents=0,
                        stock=1,
                        created_at=datetime.now(UTC),
                    )
                )
        for clerk in self.clerks:
            await clerk.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, PATIENT))

    # -- Reading -----------------------------------------------------------------------------

    @rule(who=process)
    def read(self, who: int) -> None:
        for number in PRODUCTS:
            if (who, number) not in self.under_way:  # it would wait for that load
                self.run(self.reads(self.clerks[who], number))

    @rule()
    def read_everywhere(self) -> None:
        for who in range(PROCESSES):
            self.read(who)

    async def reads(self, clerk: Clerk, number: int) -> None:
        got = await clerk.price(number)
        late = self.loop.time() + BUS_SECONDS
        while clerk.near and got != self.prices[number] and self.loop.time() < late:
            await asyncio.sleep(0.005)
            got = await clerk.price(number)
        assert got == self.prices[number]

    @rule(who=process, number=product)
    def begin_to_read(self, who: int, number: int) -> None:
        """Of what is not cached: the load finds what it finds, and then takes long."""
        if (who, number) in self.under_way:
            return
        self.client.delete(f"v2:{{price:{number}}}")
        self.clerks[who].cache._near.drop(f"price:{number}")
        go, loading = asyncio.Event(), asyncio.Event()

        async def gate() -> None:
            loading.set()
            await go.wait()

        task = self.loop.create_task(self.clerks[who].price(number, gate))

        async def until_loading() -> None:
            waiting = asyncio.ensure_future(loading.wait())
            await asyncio.wait([waiting, task], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()

        self.run(until_loading())
        self.under_way[who, number] = task, go, self.prices[number]

    @rule()
    def end_reading(self) -> None:
        for (who, number), (task, go, floor) in self.under_way.items():
            go.set()
            got = self.run(asyncio.wait_for(task, PATIENT))
            if not self.clerks[who].near:
                assert floor <= got <= max(floor, self.prices[number])
        self.under_way.clear()

    # -- Writing -----------------------------------------------------------------------------

    def write(self, work: Coroutine[Any, Any, None]) -> None:
        self.run(work)
        for clerk in self.clerks:  # what this one could not tell, others find in the outbox
            if not clerk.line.cut:
                self.run(clerk.coherence._relay.relay())

    @rule(who=process, number=product)
    def change(self, who: int, number: int) -> None:
        self.prices[number] = next(self.numbers)
        self.write(self.clerks[who].change(number, self.prices[number]))

    @rule(who=process, number=product)
    def change_mind(self, who: int, number: int) -> None:
        self.write(self.clerks[who].change_mind(number, next(self.numbers)))

    @rule(who=process, number=product)
    def change_around_savepoint(self, who: int, number: int) -> None:
        self.prices[number] = next(self.numbers)
        self.write(self.clerks[who].change_around_savepoint(number, self.prices[number]))

    @rule(who=process, number=product, by_text=st.booleans())
    def change_category(self, who: int, number: int, by_text: bool) -> None:  # noqa: FBT001 - drawn
        price = next(self.numbers)
        clerk = self.clerks[who]
        self.write((clerk.change_by_text if by_text else clerk.change_category)(number, price))
        for each in PRODUCTS:
            if category_of(each) == category_of(number):
                self.prices[each] = price

    @rule(who=process, number=product, committed=st.booleans())
    def die(self, who: int, number: int, committed: bool) -> None:  # noqa: FBT001 - drawn
        """Die before or after the commit; another process takes the place."""
        self.end_reading()
        clerk, price = self.clerks[who], next(self.numbers)
        if clerk.line.cut:
            return  # then it is the outbox that remembers: see `change`
        if committed:
            self.prices[number] = price
            self.run(clerk.die_after_commit(number, price))
        else:
            self.run(clerk.die_before_commit(number, price))
        self.run(clerk.close())
        self.clerks[who] = self.clerk(who)
        self.run(self.clerks[who].start())

    # -- What befalls Redis ------------------------------------------------------------------

    @rule(who=process)
    def cut_off(self, who: int) -> None:
        """One process does not reach Redis any more, or reaches it again."""
        self.end_reading()
        line = self.clerks[who].line
        line.cut = not line.cut

    @rule(chance=st.randoms(use_true_random=False))
    def evict(self, chance: Any) -> None:
        if keys := sorted(self.client.keys()):
            self.client.delete(chance.choice(keys))

    @rule()
    def restart(self) -> None:
        self.client.flushall()
        self.client.client_kill_filter(_type="pubsub")

    @rule(seconds=st.sampled_from((0.5, 5, 20, 61)))
    def wait(self, seconds: float) -> None:
        """Time goes by, in Redis and in the processes."""
        self.now += seconds
        for key in self.client.scan_iter(count=1000):
            if key.endswith(b":writers"):
                for token, _ in self.client.zrange(key, 0, -1, withscores=True):
                    self.client.zincrby(key, -seconds * 1000, token)
            left = self.client.pttl(key)
            if left > 0:
                self.client.pexpire(key, max(int(left - seconds * 1000), 1))

    def teardown(self) -> None:
        try:
            self.end_reading()
            for clerk in self.clerks:
                clerk.line.cut = False
                for number in PRODUCTS:
                    self.run(self.reads(clerk, number))
        finally:
            for clerk in self.clerks:
                self.run(clerk.close())
            self.loop.close()
            self.client.close()
            self.folder.cleanup()


@pytest.mark.servers
def test_what_is_read_is_what_the_database_holds(redis_server: Redis) -> None:
    machine = type("Machine", (Model,), {"redis_url": redis_server.url})
    tried = settings(
        max_examples=EXAMPLES or 12,
        stateful_step_count=40,
        deadline=None,
        derandomize=not EXAMPLES,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    # A process waits for another one's load for seconds; here those loads wait for it.
    with mock.patch.object(lease, "WAIT_SECONDS", 0.02):
        run_state_machine_as_test(machine, settings=tried)
