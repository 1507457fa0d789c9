"""Warming up: what is asked for most is loaded before anybody has to wait for it.

One process does it, and those that start at the same time wait with it. What no key says how to
load, such as the first page of a list, is configured. It is done again when Redis was restarted,
for then it is empty; or was replaced, for then nothing that it holds is valid.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from service.cache.cache import Cache
from service.cache.core.namespace import Namespace
from service.cache.core.store import StoreUnavailableError
from service.cache.redis.store import RedisBackend
from service.cache.redis.url import Server
from service.cache.warmup.hot_keys import HotKeys
from service.cache.warmup.lock import Turn

log = logging.getLogger(__name__)

AT_ONCE = 4
HOT_KEYS = 100
"""So many of each namespace are loaded."""
REPORT_SECONDS = 30.0
LOOK_SECONDS = 1.0
"""So soon a restart is noticed."""
LEASE_MS = 30_000
RUN_MS = 600_000
"""So long the processes have to notice the same restart."""
WAIT_SECONDS = 5.0
PAUSE_SECONDS = 0.05

Recipe = Callable[[], Awaitable[object]]
ByKey = Callable[[str], Awaitable[object]]


class WarmUp:
    """Loads through the cache what will be asked for; without a shared store it does nothing.

    Args:
        cache: To fill.
        queries: What to load in any case.
        by_key: How to load hot keys of a namespace.
    """

    def __init__(
        self,
        cache: Cache,
        queries: Sequence[Recipe],
        by_key: Mapping[Namespace[Any], ByKey],
    ) -> None:
        self._cache = cache
        self._queries = queries
        self._by_key = by_key
        self._tasks: list[asyncio.Task[None]] = []
        self._hot_keys: dict[Namespace[Any], HotKeys] = {}
        if store := cache.shared:
            for namespace in by_key:
                hot = HotKeys(store.client, f"{store.prefix}:hot:{namespace.everything.name}")
                self._hot_keys[namespace] = hot
                namespace.on_lookup = hot.count

    async def start(self) -> None:
        """Warm up; returns when that is done, and after 5 s in any case. Never fails."""
        store = self._cache.shared
        if store is None:
            return
        loop = asyncio.get_running_loop()
        warming = loop.create_task(self._warm(Turn(store.client, f"{store.prefix}:warming")))
        others = (self._report_regularly(), self._watch(store))
        self._tasks = [warming, *map(loop.create_task, others)]
        await asyncio.wait([warming], timeout=WAIT_SECONDS)

    async def report(self) -> None:
        """Add the keys counted here to those that all processes have counted. Never fails."""
        for hot in self._hot_keys.values():
            with suppress(StoreUnavailableError):
                await hot.report()

    async def close(self) -> None:
        """Stop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _warm(self, turn: Turn) -> None:
        with suppress(StoreUnavailableError):
            if not await turn.take(LEASE_MS):
                while await turn.is_taken():  # noqa: ASYNC110 - by another process
                    await asyncio.sleep(PAUSE_SECONDS)
                return
            try:
                await self._load(await self._recipes())
            finally:
                await turn.end()

    async def _watch(self, store: RedisBackend) -> None:
        known: dict[Server, bytes] = {}
        empty = False  # whether nobody has answered yet
        while True:
            runs = store.client.runs
            changed = [r for server, r in runs.items() if empty or known.get(server, r) != r]
            if not changed:
                known, empty = known | runs, not (known or runs)
            elif await self._cache.ping():  # else nothing would be stored yet
                run = "".join(sorted(run.hex() for run in changed))
                await self._warm_again(Turn(store.client, f"{store.prefix}:warming:{run}"))
                known, empty = known | runs, False
            await asyncio.sleep(LOOK_SECONDS)

    async def _warm_again(self, turn: Turn) -> None:
        with suppress(StoreUnavailableError):
            for hot in self._hot_keys.values():
                hot.repeat()
                await hot.report()
            if await turn.take(RUN_MS):  # and nobody does it again
                await self._load(await self._recipes())

    async def _recipes(self) -> list[Recipe]:
        recipes = list(self._queries)
        for namespace, hot in self._hot_keys.items():
            load = self._by_key[namespace]
            recipes += (partial(load, key) for key in await hot.top(HOT_KEYS))
        return recipes

    async def _load(self, recipes: list[Recipe]) -> None:
        async def work() -> None:
            while recipes:
                try:
                    await recipes.pop(0)()
                except Exception as error:  # noqa: BLE001 - what cannot be loaded now is later
                    log.info("not warmed up: %s: %s", type(error).__name__, error)

        count = len(recipes)
        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        log.info("warmed up with %d values", count)

    async def _report_regularly(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            await self.report()
