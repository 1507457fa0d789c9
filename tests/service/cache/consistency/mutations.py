"""Takes one of the steps out of the cache that keep it honest, in this process.

Each must be missed by the test of consistency, or by the model; a step that nobody misses is not
tested.
"""

from collections.abc import Callable
from typing import Any
from unittest import mock

from service.cache.cache import Cache
from service.cache.core.entry import pack, unpack
from service.cache.core.namespace import Namespace
from service.cache.core.single_flight import Role, SingleFlight
from service.cache.core.store import CachedValue, EntryRef, FillLease, TimeoutBudget, WriteIntent
from service.cache.invalidation.queue import InvalidationQueue
from service.cache.redis import scripts, store
from service.cache.redis.pubsub import Subscriber
from service.cache.redis.store import RedisStore


def fence() -> None:
    """A loaded value is stored, whatever happened since the load began."""
    unchecked = scripts.FILL.replace(
        "if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end", ""
    )
    assert unchecked != scripts.FILL
    mock.patch.object(scripts, "FILL", unchecked).start()


def retry() -> None:
    """Whoever joins a load believes what it brings."""
    join = SingleFlight.join

    async def believe(self: SingleFlight[Any], key: Any, start: Any) -> tuple[Any, Role]:
        brought, _ = await join(self, key, start)
        return brought, Role.LEADER

    mock.patch.object(SingleFlight, "join", believe).start()


def intent() -> None:
    """Nothing is said before the commit."""

    async def silent(_self: RedisStore, intent: WriteIntent) -> WriteIntent:
        return intent

    mock.patch.object(RedisStore, "intend", silent).start()


def bus() -> None:
    """What other processes invalidate is not heard."""
    mock.patch.object(Subscriber, "_on_message").start()


def tags() -> None:
    """A value does not go with its tags."""
    untagged = Namespace._entry_ref

    def ref(self: Namespace[Any], key: str, _tags: tuple[str, ...]) -> EntryRef:
        return untagged(self, key, ())

    mock.patch.object(Namespace, "_entry_ref", ref).start()


def stamp() -> None:
    """A value is believed, under whatever generations it was loaded."""

    def believe(name: str, stamp: bytes, stored: bytes) -> CachedValue | None:
        return unpack(name, stored[: len(stamp)], stored)

    mock.patch.object(store, "unpack", believe).start()


def fill() -> None:
    """Who stores a value is not told that its namespace or a tag went meanwhile."""

    async def fill(
        self: RedisStore, lease: FillLease, value: CachedValue, ttl: float, budget: TimeoutBudget
    ) -> bool:
        keys = self._keys(lease.ref.name)[:2]
        stored = pack(lease.ref.name, lease.stamp, value)
        script = self._script(scripts.FILL, keys, lease.token, stored, int(ttl * 1000))
        return bool(await self.client.send(*script, budget=budget))

    mock.patch.object(RedisStore, "fill", fill).start()


def courier() -> None:
    """Redis is trusted while something is owed."""
    mock.patch.object(InvalidationQueue, "check").start()


def catch_up() -> None:
    """Redis is trusted as soon as it is back, whatever other processes owe."""
    mock.patch.object(Cache, "before_recovery").start()


MUTATIONS: dict[str, Callable[[], None]] = {
    "fence": fence,
    "retry": retry,
    "intent": intent,
    "bus": bus,
}

MISSED_BY_MODEL: dict[str, Callable[[], None]] = {
    step.__name__: step for step in (fence, retry, intent, tags, stamp, fill, courier, catch_up)
}


def apply(name: str) -> None:
    """Take a step out; none without a name."""
    if name:
        MUTATIONS[name]()
