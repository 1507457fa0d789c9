"""Mutations: each disables one step of the cache that keeps it consistent, in this process.

The consistency test or the model must detect each of them; otherwise the step is not tested.
"""

from collections.abc import Callable
from typing import Any
from unittest import mock

from vitals.cache.cache import Cache
from vitals.cache.core.entry import pack, unpack
from vitals.cache.core.namespace import Namespace
from vitals.cache.core.single_flight import FlightRole, SingleFlight
from vitals.cache.core.store import CachedValue, EntryRef, FillLease, TimeoutBudget, WriteIntent
from vitals.cache.invalidation_queue.queue import InvalidationQueue
from vitals.cache.redis import scripts, store
from vitals.cache.redis.pubsub import Subscriber
from vitals.cache.redis.store import RedisStore


def fence() -> None:
    """Store a loaded value even if it was invalidated since the load began."""
    unchecked = scripts.FILL.replace(
        "if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end", ""
    )
    assert unchecked != scripts.FILL
    mock.patch.object(scripts, "FILL", unchecked).start()


def retry() -> None:
    """Let every follower use the result of its flight."""
    join = SingleFlight.join

    async def believe(self: SingleFlight[Any], key: Any, start: Any) -> tuple[Any, FlightRole]:
        brought, _ = await join(self, key, start)
        return brought, FlightRole.LEADER

    mock.patch.object(SingleFlight, "join", believe).start()


def intent() -> None:
    """Announce no write before its commit."""

    async def silent(_self: RedisStore, intent: WriteIntent) -> WriteIntent:
        return intent

    mock.patch.object(RedisStore, "intend", silent).start()


def bus() -> None:
    """Ignore other processes' invalidations."""
    mock.patch.object(Subscriber, "_on_message").start()


def tags() -> None:
    """Do not invalidate values with their tags."""
    untagged = Namespace._entry_ref

    def ref(self: Namespace[Any], key: str, _tags: tuple[str, ...]) -> EntryRef:
        return untagged(self, key, ())

    mock.patch.object(Namespace, "_entry_ref", ref).start()


def stamp() -> None:
    """Accept a value under any generations."""

    def believe(name: str, stamp: bytes, stored: bytes) -> CachedValue | None:
        return unpack(name, stored[: len(stamp)], stored)

    mock.patch.object(store, "unpack", believe).start()


def fill() -> None:
    """Do not check at a fill whether the namespace or a tag was invalidated."""

    async def fill(
        self: RedisStore, lease: FillLease, value: CachedValue, ttl: float, budget: TimeoutBudget
    ) -> bool:
        keys = self._keys(lease.ref.name)[:2]
        stored = pack(lease.ref.name, lease.stamp, value)
        script = self._script(scripts.FILL, keys, lease.token, stored, int(ttl * 1000))
        return bool(await self.client.send(*script, budget=budget))

    mock.patch.object(RedisStore, "fill", fill).start()


def queue() -> None:
    """Use Redis while invalidations are pending."""
    mock.patch.object(InvalidationQueue, "check").start()


def catch_up() -> None:
    """Use Redis as soon as it is available, without relaying the outbox."""
    mock.patch.object(Cache, "before_recovery").start()


MUTATIONS: dict[str, Callable[[], None]] = {
    "fence": fence,
    "retry": retry,
    "intent": intent,
    "bus": bus,
}

MISSED_BY_MODEL: dict[str, Callable[[], None]] = {
    step.__name__: step for step in (fence, retry, intent, tags, stamp, fill, queue, catch_up)
}


def apply(name: str) -> None:
    """Apply a mutation; none without a name."""
    if name:
        MUTATIONS[name]()
