"""Loading what is missing: once, by the process that comes first, and never stored too late."""

import random
import time
from asyncio import Semaphore, sleep, timeout
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from service.cache.core.codec import Codec
from service.cache.core.lease import claimed, kept
from service.cache.core.single_flight import Doors, Flights, Seat
from service.cache.core.store import (
    Backend,
    Claim,
    Found,
    Look,
    Patience,
    Place,
    Region,
    StoreUnavailableError,
    Verdict,
)

T = TypeVar("T")

Load = Callable[[], Awaitable[T | None]]

TTL_JITTER = 0.1
"""Entries live 0 to 10 % shorter than asked, so that what was filled together expires apart."""
LARGEST_BYTES = 1024 * 1024
"""Larger values are not stored."""
PAUSE_SECONDS = 0.1
"""Between looks at whether somebody else still refreshes a value."""


@dataclass(frozen=True)
class Options:
    """How a namespace keeps its values; times in seconds.

    Attributes:
        ttl: How long a value lives at most.
        soft: From about when on it is refreshed while it is still served.
        negative_ttl: How long "there is none" lives.
        l1: How long a value may also live in this process; 0 for not at all.
        deadline: How long a load may take.
    """

    ttl: float
    soft: float | None = None
    negative_ttl: float = 15.0
    l1: float = 0.0
    deadline: float = 10.0


@dataclass(frozen=True)
class Landing:
    """What a load brought: the value's bytes, and whether nothing invalidated it meanwhile."""

    payload: bytes
    fresh: bool


class Loader(Generic[T]):
    """The loads of one namespace.

    Args:
        backend: Where values are stored.
        region: The namespace.
        codec: Writes values.
        options: How long they live.
        loads: How many loads of this process may be under way, of all namespaces together.
    """

    def __init__(
        self,
        backend: Backend,
        region: Region,
        codec: Codec[T],
        *,
        options: Options,
        loads: Semaphore,
    ) -> None:
        self._backend = backend
        self._region = region
        self._codec = codec
        self._options = options
        self._loads = loads
        self._flights: Flights[Landing] = Flights()

    async def join(
        self, place: Place, look: Look | None, load: Load[T], patience: Patience
    ) -> tuple[Landing, Seat]:
        """Load, or wait for the load under way.

        Args:
            place: Where the value belongs.
            look: What was seen there; None if the store cannot be asked.
            load: Fetches it.
            patience: For all that the store is asked.

        Raises:
            TimeoutError: The load took longer than the deadline.
            Exception: What ``load`` raised.
        """

        async def fly(doors: Doors) -> Landing:
            claim = None if look is None else await self._claim(place, look, patience)
            if claim is not None and claim.found is not None:
                return Landing(claim.found.payload, fresh=False)
            return await self._bring(claim, load, patience, doors)

        return await self._flights.join(place.name, fly)

    async def _claim(self, place: Place, look: Look, patience: Patience) -> Claim | None:
        again = look.spoilt or look.found is not None  # what is there cannot be read
        try:
            claim = await claimed(self._backend, place, look, patience, again=again)
            if claim.verdict is Verdict.FOUND and not self._fits(claim):
                claim = await claimed(self._backend, place, look, patience, again=True)
        except StoreUnavailableError:
            return None
        return claim if claim.verdict is Verdict.GRANTED or self._fits(claim) else None

    def _fits(self, claim: Claim) -> bool:
        return claim.found is not None and self._codec.fits(claim.found.payload)

    def refresh(self, place: Place, load: Load[T]) -> None:
        """Load again in the background, unless somebody does."""
        self._flights.launch(("refresh", place.name), partial(self._refresh, place, load))

    async def close(self) -> None:
        """End the loads under way."""
        await self._flights.close()

    async def _refresh(self, place: Place, load: Load[T], doors: Doors) -> Landing:
        patience = Patience(self._backend.timeout)
        claim = None
        try:
            look = await self._backend.read(place)
            if look.stamp is not None:
                claim = await self._backend.claim(place, look, patience, again=True)
        except StoreUnavailableError:
            pass
        if claim is None or claim.verdict is not Verdict.GRANTED:
            await sleep(PAUSE_SECONDS)
            return Landing(b"", fresh=False)
        return await self._bring(claim, load, patience, doors)

    async def _bring(
        self, claim: Claim | None, load: Load[T], patience: Patience, doors: Doors
    ) -> Landing:
        started = time.monotonic()
        async with kept(self._backend, claim):
            async with timeout(self._options.deadline), self._loads:
                with self._region.report.load():
                    value = await load()
            payload = self._codec.encode(value)
            # Filling is the check for freshness, and says nothing to those who come after it.
            doors.close()
            took = time.monotonic() - started
            fresh = claim is not None and await self._fill(claim, value, payload, took, patience)
        return Landing(payload, fresh)

    async def _fill(
        self, claim: Claim, value: T | None, payload: bytes, took: float, patience: Patience
    ) -> bool:
        if len(payload) > LARGEST_BYTES:
            self._region.report.refused("too_large")
            await self._backend.give_up(claim)
            return False
        ttl = self._options.negative_ttl if value is None else self._options.ttl
        ttl *= 1 - TTL_JITTER * random.random()  # noqa: S311 - no secret, only spread
        soft = time.time() + min(ttl, self._options.soft or ttl)
        try:
            stored = await self._backend.fill(claim, Found(payload, soft, took), ttl, patience)
        except StoreUnavailableError:
            await self._backend.give_up(claim)
            return False
        if not stored:
            self._region.report.fill_rejected()
        return stored
