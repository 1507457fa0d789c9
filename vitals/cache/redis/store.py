"""Redis store, shared by processes; when Redis fails, reads bypass it.

Keys, for the value ``42`` of the namespace ``product``: ``v2:{product:42}`` holds the value,
``v2:{product:42}:fence`` the token of the lease and ``v2:{product:42}:writers`` the pending writes.
The braces (hash tag) keep them in one slot of a cluster. ``v2:{product}`` holds the namespace's
generation, and ``v2:{tag:garden}`` a tag's.

A generation is a random token; without it, or with another, a value is not valid. A value stored
in another run of the server is not valid either: a replica that was promoted, or a server that
restored an old file, may have missed the last invalidations.

Redis should keep nothing on disk (``save ""``, ``appendonly no``) and evict
(``maxmemory-policy volatile-lfu``).
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from vitals.cache.core.entry import CorruptError, pack, unpack
from vitals.cache.core.l1 import L1Cache
from vitals.cache.core.metrics import Layer
from vitals.cache.core.store import (
    INTENT_SECONDS,
    TAG,
    CachedValue,
    CacheInfo,
    EntryRef,
    FillLease,
    InvalidationTarget,
    LeaseOutcome,
    Lookup,
    StoreUnavailableError,
    TimeoutBudget,
    WriteIntent,
)
from vitals.cache.invalidation_queue.queue import InvalidationQueue
from vitals.cache.redis import scripts
from vitals.cache.redis.client import RedisClient, connect_redis
from vitals.cache.redis.connection import Command
from vitals.cache.redis.pubsub import Subscriber
from vitals.cache.redis.url import RedisUrl

R = TypeVar("R")

LAYOUT = "v2"
"""Version of the layout of keys."""
GENERATION_BYTES = 8
LEASE_MS = 2_000
"""Renewed during a load; the longest that others wait for one whose process died."""
INTENT_MS = INTENT_SECONDS * 1000
TAG_SECONDS = 7 * 24 * 3600
_OUTCOMES = {outcome.name.lower().encode(): outcome for outcome in LeaseOutcome}
HANDOVER_SECONDS = 2.0
"""Longest wait for the event loop of another thread."""
WRITING = b"W"
"""Stored instead of a generation's token while a write of it is pending."""


class RedisStore:
    """A store of bytes by entry in Redis.

    Args:
        url: See ``docs/caching.md``.
        password: Used when the URL has none.
        timeout: Seconds a command may take.
        l1: Cleared of what this process invalidates.
        prefix: Of every key, before the version of their layout.
    """

    layer: Layer = "l2"

    def __init__(
        self,
        url: str,
        *,
        password: str | None = None,
        timeout: float,
        l1: L1Cache | None = None,
        prefix: str = "",
    ) -> None:
        self.timeout = timeout
        self._connect = partial(
            connect_redis, url, password, timeout, self._on_availability, self._on_failure
        )
        self.client: RedisClient = self._connect()
        self.address = RedisUrl.parse(url).address
        self._loop: asyncio.AbstractEventLoop | None = None
        self.prefix = prefix + LAYOUT
        self.channel = f"{self.prefix}:bus"
        self._l1 = l1 or L1Cache()
        self._process = os.urandom(8)
        self._infos: list[CacheInfo] = []
        self.queue = InvalidationQueue(self._send, self._send_intent, self._everything)

    def register(self, info: CacheInfo) -> None:
        """Register a namespace."""
        if info not in self._infos:
            self._infos.append(info)
        info.reporter.breaker(open_=self.client.is_open)

    def subscriber(self, changed: Callable[[bool], None]) -> Subscriber:
        """Make the subscriber of other processes' invalidations, which empties the L1 cache."""
        client = self.client
        return Subscriber(client.subscriber, self.channel, self.timeout, self._l1.drop, changed)

    # -- Reading and filling -----------------------------------------------------------------

    async def read(self, ref: EntryRef) -> Lookup:
        """Look up the value; it is valid under the current generations only."""
        if self._owner() is not None:
            raise StoreUnavailableError("bypass")
        self.queue.check()
        with ref.info.reporter.operation("get"):
            origin, (stored, *tokens) = await self.client.read(self._reads(ref))
        self.queue.check()
        if None in tokens or WRITING in tokens:
            return Lookup(None, write_pending=WRITING in tokens)
        stamp = origin + b"".join(tokens)
        if stored is None:
            return Lookup(stamp)
        try:
            return Lookup(stamp, unpack(ref.name, stamp, stored))
        except CorruptError:
            ref.info.reporter.refused("corrupt")
            return Lookup(stamp, is_corrupt=True)

    async def acquire_lease(
        self, ref: EntryRef, lookup: Lookup, budget: TimeoutBudget, *, replace: bool = False
    ) -> FillLease:
        """Acquire the lease of an entry, and create missing generations."""
        if lookup.write_pending:
            return FillLease(ref, LeaseOutcome.WRITE_PENDING)
        self.queue.check()
        stamp = lookup.stamp or await self._stamp(ref, budget)
        if stamp is None:
            return FillLease(ref, LeaseOutcome.WRITE_PENDING)
        token = self._process + os.urandom(8)
        keys = self._keys(ref.name)
        acquire = self._script(scripts.ACQUIRE_LEASE, keys, stamp, token, LEASE_MS, int(replace))
        with ref.info.reporter.operation("claim"):
            reply = await self.client.send(*acquire, budget=budget)
        outcome = _OUTCOMES[reply[0]]
        if outcome is not LeaseOutcome.FOUND:
            return FillLease(ref, outcome, token, stamp)
        try:
            return FillLease(ref, outcome, token, stamp, unpack(ref.name, stamp, reply[1]))
        except CorruptError:
            return FillLease(ref, outcome, token, stamp)

    async def renew_lease(self, lease: FillLease) -> None:
        """Extend the lease."""
        fence = self._keys(lease.ref.name)[1:2]
        with suppress(StoreUnavailableError), _failures_counted([lease.ref.info], "renew"):
            await self.client.send(*self._script(scripts.RENEW_LEASE, fence, lease.token, LEASE_MS))

    async def fill(
        self, lease: FillLease, value: CachedValue, ttl: float, budget: TimeoutBudget
    ) -> bool:
        """Store the value if the lease holds and no generation has changed."""
        ref = lease.ref
        keys = self._keys(ref.name)[:2]
        stored = pack(ref.name, lease.stamp, value)
        generations = self._reads(ref)[1:]
        self.queue.check()
        with ref.info.reporter.operation("set"):
            filled, *tokens = await self.client.send_all(
                self._script(scripts.FILL, keys, lease.token, stored, int(ttl * 1000)),
                *(("GET", name) for name in generations),
                budget=budget,
            )
        current = b"".join(token or b"" for token in tokens)
        return bool(filled) and lease.stamp.endswith(current) and None not in tokens

    async def release_lease(self, lease: FillLease) -> None:
        """Delete the lease."""
        fence = self._keys(lease.ref.name)[1:2]
        with suppress(StoreUnavailableError), _failures_counted([lease.ref.info], "release"):
            await self.client.send(*self._script(scripts.RELEASE_LEASE, fence, lease.token))

    # -- Invalidating ------------------------------------------------------------------------

    async def intend(self, intent: WriteIntent) -> WriteIntent:
        """Announce a write, or hold its intent until Redis is available."""
        if owner := self._owner():
            return await _on(owner, self.intend(intent)) or replace(intent, delivered=False)
        try:
            await self._send_intent(intent)
        except StoreUnavailableError:
            self.queue.hold(intent)
            return replace(intent, delivered=False)
        finally:
            self._drop_from_l1(intent.targets)
        return intent

    def hold(self, intent: WriteIntent) -> None:
        """Bypass Redis in this process until the intent is delivered or over."""
        self.queue.hold(intent)
        self._drop_from_l1(intent.targets)

    async def invalidate(
        self, targets: tuple[InvalidationTarget, ...], intent: WriteIntent | None = None
    ) -> None:
        """Drop values now, or queue the invalidation."""
        if owner := self._owner():
            await _on(owner, self.invalidate(targets, intent))
            if not owner.is_running():  # it has just ended
                await self.invalidate(targets, intent)
        elif targets:
            self._drop_from_l1(targets)
            await self.queue.deliver(targets, intent.token if intent else b"")
            self._drop_from_l1(targets)

    async def invalidate_now(self, targets: tuple[InvalidationTarget, ...]) -> bool:
        """Drop values without queueing; return whether Redis was available."""
        if owner := self._owner():
            return bool(await _on(owner, self.invalidate_now(targets)))
        try:
            await self._send(targets)
        except StoreUnavailableError:
            return False
        finally:
            self._drop_from_l1(targets)
        return True

    async def ping(self) -> bool:
        """Return whether Redis answers and reads use it."""
        if owner := self._owner():
            return bool(await _on(owner, self.ping()))
        try:
            await self.client.send("PING")
            self.queue.check()
        except StoreUnavailableError:
            return False
        return True

    def reopen(self) -> None:
        """Connect anew, after ``close`` or on another event loop; keep what is not delivered."""
        self._loop = asyncio.get_running_loop()
        before, self.client = self.queue, self._connect()
        self.queue = InvalidationQueue(self._send, self._send_intent, self._everything)
        self.queue.inherit(before)
        self._l1.reset(active=False)

    async def close(self) -> None:
        """Try a last time to deliver what is pending, then disconnect."""
        if owner := self._owner():
            await _on(owner, self.close())
            return
        await self.queue.close()
        await self.client.close()

    def _owner(self) -> asyncio.AbstractEventLoop | None:
        """Return the event loop that connections and tasks belong to, if it is another thread's.

        If it has ended, connect anew on this one. Two that run cannot share a connection: the other
        one reads without Redis, and hands over what it writes.
        """
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return None
        if self._loop is None:
            self._loop = loop
        elif self._loop.is_running():
            return self._loop
        else:
            self.reopen()
        return None

    # -- Inside ------------------------------------------------------------------------------

    async def _send_intent(self, intent: WriteIntent) -> None:
        commands = [
            self._script(
                scripts.INTEND,
                self._keys(target.name),
                intent.token,
                INTENT_MS,
                int(target.is_generation),
                self.channel,
                target.name,
            )
            for target in intent.targets
        ]
        if commands:
            with _failures_counted([target.info for target in intent.targets], "intend"):
                await self.client.send_all(*commands)

    async def _send(self, targets: tuple[InvalidationTarget, ...], token: bytes = b"") -> None:
        commands = [
            self._script(
                scripts.INVALIDATE,
                self._keys(target.name),
                token,
                int(target.is_generation),
                self.channel,
                target.name,
            )
            for target in targets
        ]
        with _failures_counted([target.info for target in targets], "invalidate"):
            await self.client.send_all(*commands)

    def _everything(self) -> tuple[InvalidationTarget, ...]:
        return tuple(
            InvalidationTarget(info.name, is_generation=True, info=info) for info in self._infos
        )

    def _drop_from_l1(self, targets: tuple[InvalidationTarget, ...]) -> None:
        for target in targets:
            self._l1.drop(target.name)

    def _on_availability(self, up: bool) -> None:  # noqa: FBT001 - the client's callback
        for info in self._infos:
            info.reporter.breaker(open_=not up)
        if up:
            self.queue.flush()

    def _on_failure(self, reason: Exception) -> None:
        for info in self._infos:
            info.reporter.failed("connect", reason)

    def _keys(self, name: str) -> tuple[str, str, str]:
        key = f"{self.prefix}:{{{name}}}"
        return key, f"{key}:fence", f"{key}:writers"

    def _reads(self, ref: EntryRef) -> tuple[str, ...]:
        begin = f"{self.prefix}:{{"
        return (f"{begin}{ref.name}}}", *[f"{begin}{name}}}" for name in ref.generations])

    async def _stamp(self, ref: EntryRef, budget: TimeoutBudget) -> bytes | None:
        """Create missing generations and return the stamp; None if a write of one is pending."""
        fresh = [os.urandom(GENERATION_BYTES) for _ in ref.generations]
        made = map(self._make, ref.generations, fresh)
        with _failures_counted([ref.info], "generation"):
            found = await self.client.send_all(*made, budget=budget)
        tokens = [old or new for old, new in zip(found, fresh, strict=True)]
        if WRITING in tokens:
            return None
        return self.client.origin(self._reads(ref)) + b"".join(tokens)

    def _make(self, name: str, token: bytes) -> Command:
        life = ("PX", TAG_SECONDS * 1000) if name.startswith(TAG) else ()
        return ("SET", self._keys(name)[0], token, "NX", "GET", *life)

    def _script(self, script: str, keys: tuple[str, ...], *arguments: str | bytes | int) -> Command:
        return ("EVAL", script, len(keys), *keys, *arguments)


@contextmanager
def _failures_counted(infos: Sequence[CacheInfo], operation: str) -> Iterator[None]:
    """Count what commands fail with that are not timed, for the first namespace they are of."""
    try:
        yield
    except StoreUnavailableError as error:
        if infos and error.result == "error":
            infos[0].reporter.failed(operation, error)
        raise


async def _on(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, R]) -> R | None:
    """Run a coroutine on the event loop of another thread; None if that does not answer in time."""
    try:
        running = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))
    except RuntimeError:  # it is closed
        work.close()
        return None
    try:
        async with asyncio.timeout(HANDOVER_SECONDS):
            return await asyncio.shield(running)  # busy: it is done later
    except TimeoutError:
        return None
