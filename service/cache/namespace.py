"""A namespace: the cached answers to one question, such as "the product with this id"."""

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from service.cache.backend import Backend, Claim, Patience, Region, StoreUnavailableError
from service.cache.codec import Codec
from service.cache.flights import Flights
from service.cache.redis import TIMEOUT_SECONDS
from vitals.caching import Result

T = TypeVar("T")

Load = Callable[[], Awaitable[T | None]]

LONGEST_KEY = 100
TTL_JITTER = 0.1
"""Entries live 0 to 10 % shorter than asked, so that what was filled together expires apart."""


@dataclass(frozen=True)
class Landing(Generic[T]):
    """What a load brought: the value, its bytes, and whether nothing invalidated it meanwhile."""

    value: T | None
    stored: bytes
    fresh: bool


Fetch = Callable[[], Coroutine[Any, Any, Landing[T]]]


class Namespace(Generic[T]):
    """Cached values of one type. Made by ``Cache.namespace``.

    A value read here is at least as new as the last invalidation that was delivered before the
    read began. While Redis is away, an invalidation cannot reach it; other processes may then
    serve what they find there, until the invalidation is delivered or the TTL ends, whichever is
    first. So the TTL is the longest any value can be stale.
    """

    def __init__(
        self,
        backend: Backend,
        region: Region,
        codec: Codec[T],
        *,
        ttl: float,
        negative_ttl: float,
        load_deadline: float,
    ) -> None:
        self._backend = backend
        self._region = region
        self._codec = codec
        self._ttl = ttl
        self._negative_ttl = negative_ttl
        self._load_deadline = load_deadline
        self._flights: Flights[Landing[T]] = Flights()

    async def get_or_load(self, key: str, load: Load[T]) -> T | None:
        """Return the cached value, else load, store and return it; None means "there is none".

        Callers that miss the same key at the same time share one load. It runs in a task of its
        own, which outlives a caller that is cancelled; so ``load`` must open its own database
        session and never use its caller's. Trouble with the cache's store never shows: the value
        is loaded then, at most a quarter of a second late.

        Args:
            key: Names the value within the namespace.
            load: Fetches the value; None is remembered for the shorter ``negative_ttl``.

        Raises:
            TimeoutError: The load took longer than the deadline.
            Exception: What ``load`` raised; nothing is remembered then.
        """
        key = short(key)
        patience = Patience(TIMEOUT_SECONDS)
        result: Result = "miss"
        try:
            stored = await self._backend.read(self._region, key, patience)
        except StoreUnavailableError as unavailable:
            result = unavailable.result
        else:
            if stored is not None:
                try:
                    value = self._codec.decode(stored)
                except ValueError:
                    pass
                else:
                    self._tell("negative" if value is None else "hit")
                    return value
        self._tell(result)
        return await self._shared(key, lambda: self._fetch(key, load, patience))

    async def invalidate(self, *keys: str) -> None:
        """Drop values; call it after the commit that changed what they were made of.

        Returns when the values are gone. Never raises: while the store is away the invalidation
        is kept, and delivered before anything in the store is trusted again.
        """
        shortened = tuple(short(key) for key in keys)
        self._flights.forget(shortened)
        if shortened:
            await self._backend.invalidate(self._region, shortened)

    async def clear(self) -> None:
        """Drop every value of the namespace, likewise."""
        self._flights.forget_all()
        await self._backend.clear(self._region)

    async def close(self) -> None:
        """End the loads under way."""
        await self._flights.close()

    def _tell(self, result: Result) -> None:
        self._region.report.request(self._backend.layer, result)

    async def _shared(self, key: str, fetch: Fetch[T]) -> T | None:
        landing, mine = await self._flights.join(key, fetch)
        if not (mine or landing.fresh):
            # The flight took off before this call and what it brought may be older than an
            # invalidation that came in between. The next flight cannot be.
            landing, mine = await self._flights.join(key, fetch)
        # Every caller but one gets a copy: a value changed by one must not change for others.
        return landing.value if mine else self._codec.decode(landing.stored)

    async def _fetch(self, key: str, load: Load[T], patience: Patience) -> Landing[T]:
        claim = await self._claim(key, patience)
        async with asyncio.timeout(self._load_deadline):
            with self._region.report.load():
                value = await load()
        stored = self._codec.encode(value)
        fresh = claim is not None and await self._fill(claim, value, stored, patience)
        return Landing(value, stored, fresh)

    async def _claim(self, key: str, patience: Patience) -> Claim | None:
        try:
            return await self._backend.claim(self._region, key, patience)
        except StoreUnavailableError:
            return None

    async def _fill(self, claim: Claim, value: T | None, stored: bytes, patience: Patience) -> bool:
        ttl = self._negative_ttl if value is None else self._ttl
        ttl *= 1 - TTL_JITTER * random.random()  # noqa: S311 - no secret, only spread
        try:
            kept = await self._backend.fill(claim, stored, ttl, patience)
        except StoreUnavailableError:
            return False
        if not kept:
            self._region.report.fill_rejected()
        return kept


def short(key: str) -> str:
    """Return the key itself, or a digest of one that is long or could be taken for a digest."""
    if len(key) <= LONGEST_KEY and not key.startswith("#") and key.isprintable():
        return key
    return "#" + hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=16).hexdigest()
