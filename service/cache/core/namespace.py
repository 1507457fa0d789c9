"""A namespace: the cached answers to one question, such as "the product with this id"."""

import math
import random
import time
from asyncio import Semaphore
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from service.cache.core.codec import Codec, Rendered
from service.cache.core.keys import Template, short
from service.cache.core.l1 import Kept, Near, Ticket
from service.cache.core.loader import Load, Loader, Options
from service.cache.core.single_flight import Seat
from service.cache.core.store import (
    Backend,
    Found,
    Look,
    Mark,
    Patience,
    Place,
    Region,
    StoreUnavailableError,
)
from vitals.cache_metrics import Layer, Result

T = TypeVar("T")
V = TypeVar("V")

Open = Callable[[bytes], V | None]
"""Reads what is stored; a ValueError says that another release wrote it."""

EARLIEST = 37
"""Loads' durations before its end: no value is refreshed earlier, as ``random`` has 53 bits."""


@dataclass(slots=True)
class Question(Generic[T]):
    """What a caller asks: for which place, how to load it, and the ticket to keep it nearby."""

    place: Place
    load: Load[T]
    ticket: Ticket | None


class Namespace(Generic[T]):
    """Cached values of one type. Made by ``Cache.namespace``.

    A value read here is at least as new as the last invalidation that was delivered before the
    read began, and as the last write that was intended here and committed. From this process's
    own layer (``l1``) it may be as much older as a message of Redis takes to arrive.
    """

    def __init__(
        self,
        backend: Backend,
        region: Region,
        codec: Codec[T],
        *,
        near: Near,
        template: Template,
        options: Options,
        loads: Semaphore,
    ) -> None:
        self._backend = backend
        self._region = region
        self._codec = codec
        self._near = near
        self._template = template
        self._l1 = options.l1
        self._loader = Loader(backend, region, codec, options=options, loads=loads)
        self._begin = f"{region.name}:"
        self._untagged: tuple[str, ...] = (region.name,)
        self.on_lookup: Callable[[str], None] | None = None
        """Called with the key of each look-up that this process's own layer does not answer."""

    def key(self, **fields: object) -> str:
        """Fill in the template of the keys.

        Raises:
            ValueError: A field is missing, or there is one too many.
        """
        return self._template.fill(fields)

    def entry(self, key: str) -> Mark:
        """What a write of one value's content invalidates."""
        return Mark(self._begin + short(key), whole=False, region=self._region)

    @property
    def everything(self) -> Mark:
        """All values."""
        return Mark(self._region.name, whole=True, region=self._region)

    # -- Reading -----------------------------------------------------------------------------

    async def get_or_load(self, key: str, load: Load[T], tags: tuple[str, ...] = ()) -> T | None:
        """Return the cached value, else load, store and return it; None means "there is none".

        Callers that miss the same key at the same time share one load, in whatever process they
        are. It runs in a task of its own, which outlives a caller that is cancelled; so ``load``
        must open its own database session and never use its caller's. Trouble with the cache's
        store never shows: the value is loaded then, at most a quarter of a second late.

        Args:
            key: Names the value within the namespace.
            load: Fetches the value; None is remembered for the shorter ``negative_ttl``.
            tags: Invalidate it too; the same for all readers of a key.

        Raises:
            TimeoutError: The load took longer than the deadline.
            Exception: What ``load`` raised; nothing is remembered then.
        """
        near = self._nearby(key)
        if near is not None:
            return self._codec.decode(near.payload)
        return await self._get(self._place(key, tags), load, self._codec.decode)

    async def render(self, key: str, load: Load[T], tags: tuple[str, ...] = ()) -> Rendered | None:
        """Return the value as it is sent, with its tag; otherwise as ``get_or_load``.

        What is cached is not even parsed.
        """
        near = self._nearby(key)
        if near is not None:
            return near.rendered
        place = self._place(key, tags)
        return await self._get(place, load, self._rendered_of(place))

    async def peek(self, key: str, tags: tuple[str, ...] = ()) -> Rendered | None:
        """Return the cached value as it is sent; None if there is none, or none is cached."""
        near = self._nearby(key)
        return near.rendered if near is not None else await self._peek(self._place(key, tags))

    # -- Invalidating ------------------------------------------------------------------------

    async def invalidate(self, *keys: str) -> None:
        """Drop values; call it after the commit that changed what they were made of.

        Returns when the values are gone. Never raises: while the store is away the invalidation
        is kept, and delivered before anything in the store is trusted again.
        """
        await self._backend.invalidate(tuple(self.entry(key) for key in keys))

    async def clear(self) -> None:
        """Drop every value of the namespace, likewise."""
        await self._backend.invalidate((self.everything,))

    async def close(self) -> None:
        """End the loads under way."""
        await self._loader.close()

    # -- Looking -----------------------------------------------------------------------------

    def _place(self, key: str, tags: tuple[str, ...]) -> Place:
        if self.on_lookup is not None:
            self.on_lookup(key)
        generations = self._untagged
        if tags:
            generations += tuple(f"tag:{short(tag)}" for tag in tags)
        return Place(self._region, self._begin + short(key), generations)

    def _tell(self, result: Result, layer: Layer | None = None) -> None:
        self._region.report.request(layer or self._backend.layer, result)

    def _nearby(self, key: str) -> Kept | None:
        if not self._l1:
            return None
        near = self._near.get(self._begin + short(key))
        if near is not None:
            self._region.report.request("l1", "hit" if near.rendered else "negative")
        return near

    async def _peek(self, place: Place) -> Rendered | None:
        try:
            look = await self._backend.read(place)
        except StoreUnavailableError:
            return None
        if look.found is None:
            return None
        try:
            rendered = self._rendered_of(place)(look.found.payload)
        except ValueError:  # another release wrote it
            self._region.report.refused("schema")
            return None
        if rendered is not None:  # else who goes on to load it is counted
            self._tell("hit")
        return rendered

    def _rendered_of(self, place: Place) -> Open[Rendered]:
        return partial(self._codec.rendered, again=partial(self._peek, place))

    async def _get(self, place: Place, load: Load[T], open_: Open[V]) -> V | None:
        ticket = self._near.ticket(place.name) if self._l1 else None
        question = Question(place, load, ticket)
        started, look = time.monotonic(), None
        try:
            look = await self._backend.read(place)
        except StoreUnavailableError as unavailable:
            self._tell(unavailable.result)
        else:
            if look.found is not None:
                try:
                    value = open_(look.found.payload)
                except ValueError:  # another release wrote it
                    self._region.report.refused("schema")
                else:
                    self._hit(question, look.found)
                    return value
            self._tell("miss")
        patience = Patience(self._backend.timeout - (time.monotonic() - started))
        landing = await self._missed(question, look, patience)
        # Opened by each caller: a value that one of them changes must not change for others.
        return open_(landing)

    def _hit(self, question: Question[T], found: Found) -> None:
        result: Result = "negative" if self._codec.is_nothing(found.payload) else "hit"
        # XFetch: the dearer a load, and the nearer the end, the likelier somebody begins early.
        left = found.soft - time.time()
        if left <= found.took * EARLIEST and left <= -found.took * math.log(
            random.random() or 1e-9  # noqa: S311 - no secret
        ):
            result = "stale"
            self._loader.refresh(question.place, question.load)
        self._tell(result)
        self._keep(question, found.payload)

    def _keep(self, question: Question[T], payload: bytes) -> None:
        if question.ticket is not None:
            rendered = self._rendered_of(question.place)(payload)
            self._near.put(question.place, question.ticket, Kept(payload, rendered), self._l1)

    async def _missed(self, question: Question[T], look: Look | None, patience: Patience) -> bytes:
        place, load = question.place, question.load
        landing, seat = await self._loader.join(place, look, load, patience)
        if seat is Seat.LATE or (seat is Seat.EARLY and not landing.fresh):
            # What this flight brought may be older than an invalidation before this call. What
            # is stored now is not, nor is what a flight brings that takes off after this one.
            try:
                look = None if look is None else await self._backend.read(place)
            except StoreUnavailableError:
                look = None
            if look is not None and look.found and self._codec.fits(look.found.payload):
                return look.found.payload
            landing, _ = await self._loader.join(place, look, load, patience)
        elif landing.fresh and seat is Seat.PILOT:
            self._keep(question, landing.payload)
        return landing.payload
