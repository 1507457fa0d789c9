"""Loader of missing values: one load at a time per key, fenced against invalidations."""

import time
from asyncio import sleep, timeout
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from vitals.cache.core.codec import Codec
from vitals.cache.core.lease import holding_lease, wait_for_lease
from vitals.cache.core.load_limit import LoadLimit
from vitals.cache.core.single_flight import Flight, FlightRole, SingleFlight
from vitals.cache.core.store import (
    CachedValue,
    CacheInfo,
    EntryRef,
    FillLease,
    LeaseOutcome,
    Lookup,
    Store,
    StoreUnavailableError,
    TimeoutBudget,
)
from vitals.random_numbers import RANDOM

T = TypeVar("T")

Load = Callable[[], Awaitable[T | None]]

TTL_JITTER = 0.1
"""TTLs are shortened by 0 to 10 %, so that entries filled together expire apart."""
LARGEST_BYTES = 1024 * 1024
"""Larger values are not stored."""
PAUSE_SECONDS = 0.1
"""Between checks whether another process still refreshes a value."""


@dataclass(frozen=True)
class Options:
    """Lifetimes of a namespace's values, in seconds.

    Attributes:
        ttl: Longest life of a value.
        soft_ttl: Age from which it is refreshed while it is still served.
        negative_ttl: Longest life of a negative entry.
        l1_ttl: Life in the L1 cache; 0 for not at all.
        deadline: Longest duration of a load.
    """

    ttl: float
    soft_ttl: float | None = None
    negative_ttl: float = 15.0
    l1_ttl: float = 0.0
    deadline: float = 10.0


@dataclass(frozen=True)
class LoadResult:
    """Result of a load: the encoded value, and whether it was stored, so not invalidated."""

    payload: bytes
    fresh: bool


class Loader(Generic[T]):
    """Loads the missing values of one namespace.

    Args:
        store: Where values are stored.
        info: The namespace.
        codec: Encodes values.
        options: Their lifetimes.
        loads: Limit on this process's concurrent loads, over all namespaces.
    """

    def __init__(
        self,
        store: Store,
        info: CacheInfo,
        codec: Codec[T],
        *,
        options: Options,
        loads: LoadLimit,
    ) -> None:
        self._store = store
        self._info = info
        self._codec = codec
        self._options = options
        self._loads = loads
        self._flights: SingleFlight[LoadResult] = SingleFlight()

    async def join(
        self, ref: EntryRef, lookup: Lookup | None, load: Load[T], budget: TimeoutBudget
    ) -> tuple[LoadResult, FlightRole]:
        """Load, or wait for the load in progress.

        Args:
            ref: The value's entry.
            lookup: Result of its lookup; None if the store is unavailable.
            load: Fetches the value.
            budget: For all commands to the store.

        Raises:
            TimeoutError: The load took longer than the deadline.
            Exception: What ``load`` raised.
        """

        async def run(flight: Flight) -> LoadResult:
            lease = None if lookup is None else await self._acquire_lease(ref, lookup, budget)
            if lease is not None and lease.value is not None:
                return LoadResult(lease.value.payload, fresh=False)
            return await self._load_and_fill(lease, load, budget, flight)

        return await self._flights.join(ref.name, run)

    async def _acquire_lease(
        self, ref: EntryRef, lookup: Lookup, budget: TimeoutBudget
    ) -> FillLease | None:
        replace = lookup.is_corrupt or lookup.value is not None  # it cannot be decoded
        try:
            lease = await wait_for_lease(self._store, ref, lookup, budget, replace=replace)
            if lease.outcome is LeaseOutcome.FOUND and not self._is_readable(lease):
                lease = await wait_for_lease(self._store, ref, lookup, budget, replace=True)
        except StoreUnavailableError:
            return None
        return lease if lease.outcome is LeaseOutcome.GRANTED or self._is_readable(lease) else None

    def _is_readable(self, lease: FillLease) -> bool:
        return lease.value is not None and self._codec.has_current_schema(lease.value.payload)

    def refresh(self, ref: EntryRef, load: Load[T]) -> None:
        """Load again in the background, unless a refresh is in progress."""
        self._flights.start(("refresh", ref.name), partial(self._refresh, ref, load))

    async def close(self) -> None:
        """Cancel the loads in progress."""
        await self._flights.close()

    async def _refresh(self, ref: EntryRef, load: Load[T], flight: Flight) -> LoadResult:
        budget = TimeoutBudget(self._store.timeout)
        lease = None
        try:
            lookup = await self._store.read(ref)
            if lookup.stamp is not None:
                lease = await self._store.acquire_lease(ref, lookup, budget, replace=True)
        except StoreUnavailableError:
            pass
        if lease is None or lease.outcome is not LeaseOutcome.GRANTED:
            await sleep(PAUSE_SECONDS)
            return LoadResult(b"", fresh=False)
        return await self._load_and_fill(lease, load, budget, flight)

    async def _load_and_fill(
        self, lease: FillLease | None, load: Load[T], budget: TimeoutBudget, flight: Flight
    ) -> LoadResult:
        started = time.monotonic()
        async with holding_lease(self._store, lease):
            async with timeout(self._options.deadline), self._loads:
                with self._info.reporter.load():
                    value = await load()
            payload = self._codec.encode(value)
            # The fill is the freshness check; it proves nothing to callers who join after it.
            flight.start_final_check()
            load_seconds = time.monotonic() - started
            fresh = lease is not None and await self._fill(
                lease, value, payload, load_seconds, budget
            )
        return LoadResult(payload, fresh)

    async def _fill(
        self,
        lease: FillLease,
        value: T | None,
        payload: bytes,
        load_seconds: float,
        budget: TimeoutBudget,
    ) -> bool:
        if len(payload) > LARGEST_BYTES:
            self._info.reporter.refused("too_large")
            await self._store.release_lease(lease)
            return False
        ttl = self._options.negative_ttl if value is None else self._options.ttl
        ttl *= 1 - TTL_JITTER * RANDOM.random()
        soft_expiry = time.time() + min(ttl, self._options.soft_ttl or ttl)
        try:
            stored = await self._store.fill(
                lease, CachedValue(payload, soft_expiry, load_seconds), ttl, budget
            )
        except StoreUnavailableError:
            await self._store.release_lease(lease)
            return False
        if not stored:
            self._info.reporter.fill_rejected()
        return stored
