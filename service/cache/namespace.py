"""A namespace: the cached answers to one question, such as "the product with this id"."""

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from service.cache.backend import Backend, Claim, Patience, Region, StoreUnavailableError
from service.cache.codec import Codec, Rendered
from service.cache.flights import Doors, Flights, Seat
from vitals.caching import Result

T = TypeVar("T")
V = TypeVar("V")

Load = Callable[[], Awaitable[T | None]]
Open = Callable[[bytes], V | None]
"""Reads what is stored; a ValueError says that another release wrote it."""

LONGEST_KEY = 100
TTL_JITTER = 0.1
"""Entries live 0 to 10 % shorter than asked, so that what was filled together expires apart."""


@dataclass(frozen=True)
class Found(Generic[V]):
    """What the store holds: a value, or that there is none."""

    value: V | None


@dataclass(frozen=True)
class Landing:
    """What a load brought: the value's bytes, and whether nothing invalidated it meanwhile."""

    stored: bytes
    fresh: bool


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
        self._flights: Flights[Landing] = Flights()

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
        return await self._get(key, load, self._codec.decode)

    async def render(self, key: str, load: Load[T]) -> Rendered | None:
        """Return the value as it is sent, with its tag; otherwise as ``get_or_load``.

        What is cached is not even parsed.
        """
        rendered = await self._get(key, load, self._codec.rendered)
        if rendered is None:
            return None
        return Rendered(rendered.body, rendered.tag, partial(self.peek, key))

    async def peek(self, key: str) -> Rendered | None:
        """Return the cached value as it is sent; None if there is none, or none is cached."""
        key = short(key)
        patience = Patience(self._backend.timeout)
        found, result = await self._read(key, patience, self._codec.rendered)
        if found is None or found.value is None:
            return None  # whoever asks on is told of
        self._tell(result)
        return found.value

    async def invalidate(self, *keys: str) -> None:
        """Drop values; call it after the commit that changed what they were made of.

        Returns when the values are gone. Never raises: while the store is away the invalidation
        is kept, and delivered before anything in the store is trusted again.
        """
        if keys:
            await self._backend.invalidate(self._region, tuple(short(key) for key in keys))

    async def clear(self) -> None:
        """Drop every value of the namespace, likewise."""
        await self._backend.clear(self._region)

    async def close(self) -> None:
        """End the loads under way."""
        await self._flights.close()

    def _tell(self, result: Result) -> None:
        self._region.report.request(self._backend.layer, result)

    async def _get(self, key: str, load: Load[T], open_: Open[V]) -> V | None:
        key = short(key)
        patience = Patience(self._backend.timeout)
        found, result = await self._read(key, patience, open_)
        self._tell(result)
        if found is not None:
            return found.value
        reachable = result == "miss"
        landing, seat = await self._board(key, load, patience, claiming=reachable)
        if seat is Seat.LATE or (seat is Seat.EARLY and not landing.fresh):
            # What this flight brought may be older than an invalidation before this call. What
            # is stored now is not, nor is what a flight brings that takes off after this one.
            found, _ = await self._read(key, patience, open_) if reachable else (None, result)
            if found is not None:
                return found.value
            landing, _ = await self._board(key, load, patience, claiming=reachable)
        # Opened by each caller: a value that one of them changes must not change for others.
        return open_(landing.stored)

    async def _read(
        self, key: str, patience: Patience, open_: Open[V]
    ) -> tuple[Found[V] | None, Result]:
        try:
            stored = await self._backend.read(self._region, key, patience)
        except StoreUnavailableError as unavailable:
            return None, unavailable.result
        found = _opened(stored, open_)
        if found is None:
            return None, "miss"
        return found, "negative" if found.value is None else "hit"

    async def _board(
        self, key: str, load: Load[T], patience: Patience, *, claiming: bool
    ) -> tuple[Landing, Seat]:
        async def fly(doors: Doors) -> Landing:
            claim = await self._claim(key, patience) if claiming else None
            if claim is not None and _opened(claim.stored, self._codec.decode):
                return Landing(claim.stored or b"", fresh=False)
            async with asyncio.timeout(self._load_deadline):
                with self._region.report.load():
                    value = await load()
            stored = self._codec.encode(value)
            # Filling is the check for freshness, and says nothing to those who come after it.
            doors.close()
            fresh = claim is not None and await self._fill(claim, value, stored, patience)
            return Landing(stored, fresh)

        return await self._flights.join(key, fly)

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


def _opened(stored: bytes | None, open_: Open[V]) -> Found[V] | None:
    if stored is None:
        return None
    try:
        return Found(open_(stored))
    except ValueError:  # another release wrote it
        return None


def short(key: str) -> str:
    """Return the key itself, or a digest of one that is long or could be taken for a digest."""
    if len(key) <= LONGEST_KEY and not key.startswith("#") and key.isprintable():
        return key
    return "#" + hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=16).hexdigest()
