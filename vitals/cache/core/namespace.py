"""Cache namespace: the cached results of one query, such as "the product with this id"."""

import math
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, Generic, ParamSpec, TypeVar

from vitals.cache.core.cached_function import CachedFunction, CallKeys
from vitals.cache.core.codec import Codec, Rendered
from vitals.cache.core.keys import KeyTemplate, shorten
from vitals.cache.core.l1 import L1Cache, L1Entry, L1Ticket
from vitals.cache.core.load_limit import LoadLimit
from vitals.cache.core.loader import Load, Loader, Options
from vitals.cache.core.metrics import Layer, Result
from vitals.cache.core.single_flight import FlightRole
from vitals.cache.core.store import (
    CachedValue,
    CacheInfo,
    EntryRef,
    InvalidationTarget,
    Lookup,
    Store,
    StoreUnavailableError,
    TimeoutBudget,
)
from vitals.random_numbers import RANDOM

T = TypeVar("T")
V = TypeVar("V")
P = ParamSpec("P")
R = TypeVar("R")

Decode = Callable[[bytes], V | None]
"""Decodes a stored value; raises ValueError if another release wrote it."""

DEFAULT_KEY = KeyTemplate("{id}")
EARLIEST_REFRESH = 37
"""In load durations before the soft expiry: no earlier, as ``random`` has 53 bits."""


@dataclass(slots=True)
class ReadRequest(Generic[T]):
    """A caller's read: the entry, how to load it, and the ticket to put it into the L1 cache."""

    ref: EntryRef
    load: Load[T]
    ticket: L1Ticket | None


class Namespace(Generic[T]):
    """Cached values of one type. Made by ``Cache.namespace``.

    A value read here is at least as new as the last invalidation that was delivered before the
    read began, and as the last committed write whose intent this cache announced. From the L1
    cache it may be older by the time that a pub/sub message takes to arrive.
    """

    def __init__(
        self,
        store: Store,
        info: CacheInfo,
        codec: Codec[T],
        *,
        l1: L1Cache,
        template: KeyTemplate | None = None,
        options: Options,
        loads: LoadLimit,
    ) -> None:
        self._store = store
        self._info = info
        self._codec = codec
        self._l1 = l1
        self._template = template
        self._function = ""
        self._l1_ttl = options.l1_ttl
        self._loader = Loader(store, info, codec, options=options, loads=loads)
        self._prefix = f"{info.name}:"
        self._untagged: tuple[str, ...] = (info.name,)
        self.on_lookup: Callable[[str], None] | None = None
        """Called with the key of each lookup that the L1 cache does not answer."""

    def key(self, **fields: object) -> str:
        """Format a key from the template.

        Raises:
            ValueError: A field is missing, or there is one too many.
            TypeError: A value has no text of its own.
        """
        return (self._template or DEFAULT_KEY).format(fields)

    def cached(
        self, *, key: str | None = None, tags: Iterable[str] = (), ignore: Iterable[str] = ()
    ) -> Callable[[Callable[P, Awaitable[R]]], CachedFunction[P, R]]:
        """Return a decorator of an async function: its results are cached by its arguments.

        ::

            @products.cached(key="{product_id}")
            async def find_product(product_id: int) -> Product | None: ...

        The function is a load, see ``get``: it opens its own database session. It keeps its
        signature, so it may be an endpoint. A namespace caches one function.

        Args:
            key: The template of its keys, with names of parameters; by default that of the
                namespace, or else all parameters.
            tags: Templates of tags, likewise.
            ignore: Parameters that do not change the result.

        Raises:
            TypeError: The function is not async.
            ValueError: A parameter is neither in the key nor ignored, or the namespace has a
                function already.
        """
        template = self._template if key is None else KeyTemplate(key)

        def decorate(function: Callable[P, Awaitable[R]]) -> CachedFunction[P, R]:
            if self._function:
                raise ValueError(f"cache namespace {self._info.name!r} caches {self._function}")
            calls = CallKeys(function, template, tuple(tags), frozenset(ignore))
            self._template, self._function = calls.template, function.__qualname__

            @wraps(function)
            async def cached(*args: P.args, **kwargs: P.kwargs) -> Any:
                key, tags = calls.key(args, kwargs)
                load: Any = partial(function, *args, **kwargs)
                return await self.get(key, load, tags)

            def entry(*args: P.args, **kwargs: P.kwargs) -> InvalidationTarget:
                return self.entry(calls.key(args, kwargs)[0])

            async def invalidate(*args: P.args, **kwargs: P.kwargs) -> None:
                await self._store.invalidate((entry(*args, **kwargs),))

            made: Any = cached
            made.__signature__ = calls.signature
            made.entry, made.invalidate = entry, invalidate
            result: CachedFunction[P, R] = made
            return result

        return decorate

    def entry(self, key: str) -> InvalidationTarget:
        """Return the invalidation target of one entry."""
        return InvalidationTarget(self._prefix + shorten(key), is_generation=False, info=self._info)

    def entry_of(self, primary_key: object) -> InvalidationTarget:
        """Return the target of the entry whose key is a row's primary key, a tuple of several.

        Where the key has more fields than that, all entries.
        """
        fields = (self._template or DEFAULT_KEY).fields
        values = primary_key if isinstance(primary_key, tuple) else (primary_key,)
        if len(fields) != len(values):
            return self.everything
        return self.entry(self.key(**dict(zip(fields, values, strict=True))))

    @property
    def everything(self) -> InvalidationTarget:
        """Invalidation target of all entries."""
        return InvalidationTarget(self._info.name, is_generation=True, info=self._info)

    # -- Reading -----------------------------------------------------------------------------

    async def get(self, key: str, load: Load[T], tags: tuple[str, ...] = ()) -> T | None:
        """Return the cached value, else load, store and return it; None means "there is none".

        Concurrent misses of a key share one load, across all processes. It runs in a task of its
        own, which survives a caller's cancellation; so ``load`` must open its own database session
        and never use its caller's. Failures of the store do not reach the caller: the value is
        loaded then, at most a quarter of a second late.

        Args:
            key: Of the value within the namespace.
            load: Fetches the value; None is cached for the shorter ``negative_ttl``.
            tags: Invalidate it too; the same for all readers of a key.

        Raises:
            TimeoutError: The load took longer than the deadline.
            Exception: What ``load`` raised; nothing is cached then.
        """
        cached = self._from_l1(key)
        if cached is not None:
            return self._codec.decode(cached.payload)
        return await self._get(self._entry_ref(key, tags), load, self._codec.decode)

    async def render(self, key: str, load: Load[T], tags: tuple[str, ...] = ()) -> Rendered | None:
        """Return the value ready to send, with its ETag; otherwise as ``get``.

        A cached value is not parsed.
        """
        cached = self._from_l1(key)
        if cached is not None:
            return cached.rendered
        ref = self._entry_ref(key, tags)
        return await self._get(ref, load, self._renderer(ref))

    async def peek(self, key: str, tags: tuple[str, ...] = ()) -> Rendered | None:
        """Return the cached value ready to send; None on a miss or a negative entry."""
        cached = self._from_l1(key)
        return (
            cached.rendered if cached is not None else await self._peek(self._entry_ref(key, tags))
        )

    # -- Invalidating ------------------------------------------------------------------------

    async def invalidate(self, *keys: str) -> None:
        """Drop values; call it after the commit that changed their source.

        Returns when the values are gone. Never raises: while the store is unavailable the
        invalidation is queued, and this process bypasses the store until it is delivered.
        """
        await self._store.invalidate(tuple(self.entry(key) for key in keys))

    async def clear(self) -> None:
        """Drop every value of the namespace, likewise."""
        await self._store.invalidate((self.everything,))

    async def close(self) -> None:
        """Cancel the loads in progress."""
        await self._loader.close()

    # -- Lookup ------------------------------------------------------------------------------

    def _entry_ref(self, key: str, tags: tuple[str, ...]) -> EntryRef:
        if self.on_lookup is not None:
            self.on_lookup(key)
        generations = self._untagged
        if tags:
            generations += tuple(f"tag:{shorten(tag)}" for tag in tags)
        return EntryRef(self._info, self._prefix + shorten(key), generations)

    def _count(self, result: Result, layer: Layer | None = None) -> None:
        self._info.reporter.request(layer or self._store.layer, result)

    def _from_l1(self, key: str) -> L1Entry | None:
        if not self._l1_ttl:
            return None
        cached = self._l1.get(self._prefix + shorten(key))
        if cached is not None:
            self._info.reporter.request("l1", "hit" if cached.rendered else "negative")
        return cached

    async def _peek(self, ref: EntryRef) -> Rendered | None:
        try:
            lookup = await self._store.read(ref)
        except StoreUnavailableError:
            return None
        if lookup.value is None:
            return None
        try:
            rendered = self._renderer(ref)(lookup.value.payload)
        except ValueError:  # another release wrote it
            self._info.reporter.refused("schema")
            return None
        if rendered is not None:  # else the caller's load is counted
            self._count("hit")
        return rendered

    def _renderer(self, ref: EntryRef) -> Decode[Rendered]:
        return partial(self._codec.render, peek=partial(self._peek, ref))

    async def _get(self, ref: EntryRef, load: Load[T], decode: Decode[V]) -> V | None:
        ticket = self._l1.ticket(ref.name) if self._l1_ttl else None
        request = ReadRequest(ref, load, ticket)
        started, lookup = time.monotonic(), None
        try:
            lookup = await self._store.read(ref)
        except StoreUnavailableError as unavailable:
            self._count(unavailable.result)
        else:
            if lookup.value is not None:
                try:
                    value = decode(lookup.value.payload)
                except ValueError:  # another release wrote it
                    self._info.reporter.refused("schema")
                else:
                    self._hit(request, lookup.value)
                    return value
            self._count("miss")
        budget = TimeoutBudget(self._store.timeout - (time.monotonic() - started))
        result = await self._load_missing(request, lookup, budget)
        # Decoded for each caller: they must not share a mutable value.
        return decode(result)

    def _hit(self, request: ReadRequest[T], cached: CachedValue) -> None:
        result: Result = "negative" if self._codec.is_negative(cached.payload) else "hit"
        # XFetch: the longer a load takes, and the nearer the expiry, the likelier a refresh.
        left, took = cached.soft_expiry - time.time(), cached.load_seconds
        if left <= took * EARLIEST_REFRESH and left <= -took * math.log(RANDOM.random() or 1e-9):
            result = "stale"
            self._loader.refresh(request.ref, request.load)
        self._count(result)
        self._put_in_l1(request, cached.payload)

    def _put_in_l1(self, request: ReadRequest[T], payload: bytes) -> None:
        if request.ticket is not None:
            rendered = self._renderer(request.ref)(payload)
            self._l1.put(request.ref, request.ticket, L1Entry(payload, rendered), self._l1_ttl)

    async def _load_missing(
        self, request: ReadRequest[T], lookup: Lookup | None, budget: TimeoutBudget
    ) -> bytes:
        ref, load = request.ref, request.load
        result, role = await self._loader.join(ref, lookup, load, budget)
        if role is FlightRole.LATE_FOLLOWER or (role is FlightRole.FOLLOWER and not result.fresh):
            # This flight's result may be older than an invalidation before this call. What is
            # stored now is not, nor is the result of the next flight.
            try:
                lookup = None if lookup is None else await self._store.read(ref)
            except StoreUnavailableError:
                lookup = None
            if (
                lookup is not None
                and lookup.value
                and self._codec.has_current_schema(lookup.value.payload)
            ):
                return lookup.value.payload
            result, _ = await self._loader.join(ref, lookup, load, budget)
        elif result.fresh and role is FlightRole.LEADER:
            self._put_in_l1(request, result.payload)
        return result.payload
