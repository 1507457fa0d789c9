"""Cache warm-up: loads the hot keys and configured queries before requests need them.

One process does it, and those that start at the same time wait for it. Queries that no hot key
names, such as the first page of a list, are configured. The warm-up is repeated when Redis was
restarted and is empty, or was replaced and holds no valid value.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from vitals.cache.cache import Cache
from vitals.cache.core.namespace import Namespace
from vitals.cache.core.running import Running
from vitals.cache.core.store import StoreUnavailableError
from vitals.cache.redis.store import RedisStore
from vitals.cache.redis.url import Server
from vitals.cache.warmup.hot_keys import HotKeys
from vitals.cache.warmup.lock import Lock

log = logging.getLogger(__name__)

CONCURRENCY = 4
HOT_KEYS = 100
"""Loaded in each namespace."""
REPORT_SECONDS = 30.0
POLL_SECONDS = 1.0
"""Interval of the checks for a restart."""
LEASE_MS = 30_000
RUN_MS = 600_000
"""Longest time between two processes' detection of the same restart."""
WAIT_SECONDS = 5.0
PAUSE_SECONDS = 0.05

Load = Callable[[], Awaitable[object]]
ByKey = Callable[[str], Awaitable[object]]


class WarmUp(Running):
    """Warms up a cache; without a shared store it does nothing.

    Args:
        cache: To fill.
        queries: Loads that always run.
        by_key: Loads of a namespace's hot keys.
    """

    def __init__(
        self,
        cache: Cache,
        queries: Sequence[Load],
        by_key: Mapping[Namespace[Any], ByKey],
    ) -> None:
        self._cache = cache
        self._queries = queries
        self._by_key = by_key
        self._tasks: list[asyncio.Task[None]] = []
        self._hot_keys: dict[Namespace[Any], HotKeys] = {}
        if store := cache.shared:
            for namespace in by_key:
                hot = HotKeys(store, f"{store.prefix}:hot:{namespace.everything.name}")
                self._hot_keys[namespace] = hot
                namespace.on_lookup = hot.count

    async def start(self) -> None:
        """Warm up; return when that is done, and after 5 s in any case. Never raises."""
        store = self._cache.shared
        if store is None:
            return
        loop = asyncio.get_running_loop()
        warming = loop.create_task(self._warm(Lock(store.client, f"{store.prefix}:warming")))
        others = (self._report_regularly(), self._watch(store))
        self._tasks = [warming, *map(loop.create_task, others)]
        await asyncio.wait([warming], timeout=WAIT_SECONDS)

    async def report(self) -> None:
        """Add this process's counts to those in Redis. Never raises."""
        for hot in self._hot_keys.values():
            with suppress(StoreUnavailableError):
                await hot.report()

    async def close(self) -> None:
        """Stop the background tasks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _warm(self, lock: Lock) -> None:
        with suppress(StoreUnavailableError):
            if not await lock.acquire(LEASE_MS):
                while await lock.is_held():  # noqa: ASYNC110 - by another process
                    await asyncio.sleep(PAUSE_SECONDS)
                return
            try:
                await self._load(await self._loads())
            finally:
                await lock.release()

    async def _watch(self, store: RedisStore) -> None:
        known: dict[Server, bytes] = {}
        empty = False  # whether no server has answered yet
        while True:
            runs = store.client.run_ids
            changed = [r for server, r in runs.items() if empty or known.get(server, r) != r]
            if not changed:
                known, empty = known | runs, not (known or runs)
            elif await self._cache.ping():  # else fills would not be stored yet
                run = "".join(sorted(run.hex() for run in changed))
                await self._warm_again(Lock(store.client, f"{store.prefix}:warming:{run}"))
                known, empty = known | runs, False
            await asyncio.sleep(POLL_SECONDS)

    async def _warm_again(self, lock: Lock) -> None:
        with suppress(StoreUnavailableError):
            for hot in self._hot_keys.values():
                hot.recount()
                await hot.report()
            if await lock.acquire(RUN_MS):  # not released: one warm-up per restart
                await self._load(await self._loads())

    async def _loads(self) -> list[Load]:
        loads = list(self._queries)
        for namespace, hot in self._hot_keys.items():
            load = self._by_key[namespace]
            loads += (partial(load, key) for key in await hot.top(HOT_KEYS))
        return loads

    async def _load(self, loads: list[Load]) -> None:
        async def work() -> None:
            while loads:
                try:
                    await loads.pop(0)()
                except Exception as error:  # noqa: BLE001 - requests will load it later
                    log.info("cache warm-up load failed (%s: %s)", type(error).__name__, error)

        count = len(loads)
        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
        log.info("cache warm-up done, %d values", count)

    async def _report_regularly(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            await self.report()
