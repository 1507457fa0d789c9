"""Stateful model: events of processes that share a cache, and the values that reads must return.

Some rules are whole scenarios: random sequences of single steps would reach them too seldom to
detect a mutation.
"""

import asyncio

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.vitals.cache.consistency.shop import Clerk
from tests.vitals.cache.consistency.world import DEADLINE_SECONDS, PROCESSES, PRODUCTS, World

INTENT_SECONDS = 20
"""Time after which a dead writer's intent has expired, and fills are accepted again."""
ONE, ALL = ("change", "change_around_savepoint"), ("change_category", "change_by_text")
"""Ways to write: one product, or all of them."""


process = st.integers(0, PROCESSES - 1)
product = st.sampled_from(PRODUCTS)
way = st.sampled_from(ONE + ALL)


class Model(World):
    """The events as rules; it ends with all processes connected and all values read."""

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

    @rule(who=process, number=product)
    def begin_to_read(self, who: int, number: int) -> None:
        """Start a miss: the load reads the database, and then takes long."""
        if (who, number) in self.under_way:
            return
        self.client.delete(f"v2:{{price:{number}}}")
        self.clerks[who].cache._l1.drop(f"price:{number}")
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
        self.under_way[who, number] = go, [(task, self.prices[number])]

    def join(self, who: int, number: int) -> None:
        """Read what is being loaded: the load began earlier, and may be stale."""
        clerk, (_, readings) = self.clerks[who], self.under_way[who, number]
        task = self.loop.create_task(clerk.price(number))
        readings.append((task, self.prices[number]))

        async def until_it_waits() -> None:
            await asyncio.sleep(0)
            await clerk.cache.ping()  # replies come in order: its own has arrived

        self.run(until_it_waits())

    @rule()
    def end_reading(self) -> None:
        for (who, number), (go, readings) in self.under_way.items():
            go.set()
            for task, floor in readings:
                got = self.run(asyncio.wait_for(task, DEADLINE_SECONDS))
                if not self.clerks[who].has_l1:
                    assert floor <= got <= max(floor, self.prices[number])
        self.under_way.clear()

    # -- Writing -----------------------------------------------------------------------------

    @rule(who=process, number=product, way=way)
    def change(self, who: int, number: int, way: str) -> None:
        price = next(self.numbers)
        self.run(getattr(self.clerks[who], way)(number, price))
        self.prices |= dict.fromkeys((number,) if way in ONE else PRODUCTS, price)
        self.relay()

    @rule(who=process, number=product)
    def change_mind(self, who: int, number: int) -> None:
        self.run(self.clerks[who].change_mind(number, next(self.numbers)))
        self.relay()

    @rule(who=process, number=product, way=way)
    def change_what_is_cached(self, who: int, number: int, way: str) -> None:
        self.wait(INTENT_SECONDS)
        self.read_everywhere()
        self.change(who, number, way)
        self.read_everywhere()

    @rule(who=process, writer=process, number=product, way=way)
    def change_what_is_being_loaded(self, who: int, writer: int, number: int, way: str) -> None:
        self.end_reading()
        self.wait(INTENT_SECONDS)
        self.begin_to_read(who, number)
        self.change(writer, number, way)
        self.join(who, number)
        self.end_reading()
        self.read_everywhere()

    @rule(who=process, number=product, committed=st.booleans())
    def die(self, who: int, number: int, committed: bool) -> None:  # noqa: FBT001 - drawn
        """Die before or after the commit; another process replaces it."""
        self.end_reading()
        clerk, price = self.clerks[who], next(self.numbers)
        if clerk.line.cut:
            return  # then the outbox has it: see `change`
        if committed:
            self.prices[number] = price
            self.run(clerk.die_after_commit(number, price))
        else:
            self.run(clerk.die_before_commit(number, price))
        self.run(clerk.close())
        self.clerks[who] = self.clerk(who)
        self.run(self.clerks[who].start())

    # -- Outages of Redis --------------------------------------------------------------------

    @rule(who=process)
    def cut_off(self, who: int) -> None:
        """Cut one process off from Redis, or reconnect it."""
        self.end_reading()
        self.run(self.cut(who, cut=not self.clerks[who].line.cut))

    @rule(who=process, number=product, way=way, order=st.permutations(range(PROCESSES)))
    def change_during_an_outage(self, who: int, number: int, way: str, order: list[int]) -> None:
        """Cut all off from Redis, which keeps its data; then each reads once it reconnects."""
        self.end_reading()
        self.wait(INTENT_SECONDS)
        self.read_everywhere()
        self.run(self.cut(*order, cut=True))
        self.change(who, number, way)

        async def come_back(clerk: Clerk) -> None:
            clerk.line.set(cut=False)
            for each in PRODUCTS:
                await self.reads(clerk, each)

        for each in order:
            self.run(come_back(self.clerks[each]))

    @rule(which=st.integers(0, 99))
    def evict(self, which: int) -> None:
        # The keys depend on timing, so hypothesis cannot draw from them.
        if keys := sorted(self.client.keys()):
            self.client.delete(keys[which % len(keys)])

    @rule()
    def restart(self) -> None:
        self.client.flushall()
        self.client.client_kill_filter(_type="pubsub")

    @rule(seconds=st.sampled_from((0.5, 5, 20, 61)))
    def wait(self, seconds: float) -> None:
        """Advance the time in Redis and in the processes."""
        self.age(seconds)

    def teardown(self) -> None:
        try:
            self.end_reading()
            self.run(self.cut(*range(PROCESSES), cut=False))
            self.read_everywhere()
        finally:
            for clerk in self.clerks:
                self.run(clerk.close())
            self.loop.close()
            self.client.close()
            self.folder.cleanup()
