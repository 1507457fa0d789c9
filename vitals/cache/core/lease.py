"""Fill leases: acquire one or wait for another process's, and renew it during the load."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from vitals.cache.core.store import EntryRef, FillLease, LeaseOutcome, Lookup, Store, TimeoutBudget
from vitals.random_numbers import RANDOM

RENEW_SECONDS = 0.5
WAIT_SECONDS = 2.0
"""Longest wait for another process's load; after that this process loads by itself."""
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.08


async def wait_for_lease(
    store: Store, ref: EntryRef, lookup: Lookup, budget: TimeoutBudget, *, replace: bool
) -> FillLease:
    """Acquire a lease; wait while another process holds it.

    Returns:
        A lease that is granted, found or refused for a pending write; or held, if the wait took
        too long.
    """
    loop = asyncio.get_running_loop()
    end, pause = loop.time() + WAIT_SECONDS, FIRST_PAUSE
    while True:
        lease = await store.acquire_lease(ref, lookup, budget, replace=replace)
        if lease.outcome is not LeaseOutcome.HELD or loop.time() > end:
            return lease
        replace = False  # the holder's value is new
        lookup = Lookup(lease.stamp)
        await asyncio.sleep(pause * RANDOM.uniform(0.5, 1.5))
        pause = min(2 * pause, LONGEST_PAUSE)


@asynccontextmanager
async def holding_lease(store: Store, lease: FillLease | None) -> AsyncIterator[None]:
    """Renew a lease while the block runs; release it if the block fails."""
    if lease is None:
        yield
        return
    loop = asyncio.get_running_loop()
    renewal = LeaseRenewal(store, lease)
    try:
        yield
    except BaseException:
        await asyncio.shield(loop.create_task(store.release_lease(lease)))
        raise
    finally:
        renewal.stop()


class LeaseRenewal:
    """Timer that renews a lease; a quick load never costs a task."""

    def __init__(self, store: Store, lease: FillLease) -> None:
        self._store = store
        self._lease = lease
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(RENEW_SECONDS, self._renew)

    def stop(self) -> None:
        """Stop renewing."""
        self._timer.cancel()

    def _renew(self) -> None:
        self._task = self._loop.create_task(self._store.renew_lease(self._lease))
        self._timer = self._loop.call_later(RENEW_SECONDS, self._renew)
