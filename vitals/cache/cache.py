"""Cache: namespaces that share one store, in this process or in Redis."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from vitals.cache.core.codec import Codec
from vitals.cache.core.keys import KeyTemplate, shorten
from vitals.cache.core.l1 import L1Cache
from vitals.cache.core.loader import Options
from vitals.cache.core.memory_store import MemoryStore
from vitals.cache.core.metrics import NullReporter, Reporter
from vitals.cache.core.namespace import Namespace
from vitals.cache.core.store import CacheInfo, InvalidationTarget, Store, WriteIntent, new_token
from vitals.cache.redis.pubsub import Subscriber
from vitals.cache.redis.store import TAG, RedisStore

T = TypeVar("T")

TIMEOUT_SECONDS = 0.2
"""Delay of a caller besides its load and the load of the machine: the objective is 250 ms.

A busy event loop does not count as a failed Redis. After a stall, replies that have arrived are
read before one counts as late (`node.GRACE_SECONDS`), and only three slow replies in a row, at
half of this or more, open the circuit (`node.SLOW_REPLIES`), which costs loads and nothing else.
"""
LOAD_DEADLINE_SECONDS = 10.0
MAX_CONCURRENT_LOADS = 32
"""Of one process: a cold cache must not overload the database."""
NAME = re.compile(r"[a-z][a-z0-9_-]*")
RESERVED = "tag"


class Cache:
    """A set of namespaces that share one store and its connection.

    ``Cache.connect("redis://localhost")`` shares values between processes;
    ``Cache.connect("")`` keeps them in this one.
    """

    def __init__(self, store: Store, l1: L1Cache | None = None) -> None:
        self._store = store
        self._l1 = l1 or L1Cache()
        self._namespaces: dict[str, Namespace[Any]] = {}
        self._infos: list[CacheInfo] = []
        self._tags = CacheInfo(RESERVED)
        self._loads = asyncio.Semaphore(MAX_CONCURRENT_LOADS)
        self._uses_l1 = False
        self._subscriber: Subscriber | None = None
        if isinstance(store, RedisStore):
            self._subscriber = Subscriber(
                store.client.subscriber,
                store.channel,
                store.timeout,
                self._l1.drop,
                self._on_subscription,
            )

    @classmethod
    def connect(
        cls,
        url: str = "",
        *,
        password: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
        single_process: bool = True,
    ) -> "Cache":
        """Choose the store; the first command connects.

        Args:
            url: See ``docs/caching.md``; empty for a store in this process.
            password: Used when the URL has none.
            timeout: Longest seconds that a caller waits for Redis; then it goes on without.
            single_process: Whether this is the only process of the service. Without Redis, writes
                do not invalidate in other processes, so nothing is cached unless it is.

        Raises:
            ValueError: The URL's scheme is not supported.
        """
        if not url:
            return cls(MemoryStore() if single_process else MemoryStore(max_bytes=0))
        l1 = L1Cache()
        return cls(RedisStore(url, password=password, timeout=timeout, l1=l1), l1)

    def namespace(
        self,
        name: str,
        *,
        type: type[T],  # noqa: A002 - the word for it
        ttl: float,
        key: str = "{id}",
        soft_ttl: float | None = None,
        negative_ttl: float = 15.0,
        l1_ttl: float = 0.0,
        schema: int = 1,
        reporter: Reporter | None = None,
    ) -> Namespace[T]:
        """Make a namespace; once for each name.

        Args:
            name: Lower case, for keys and metrics.
            type: What is cached: a pydantic model, a list of models, or builtins.
            ttl: Longest life of a value in seconds; the longest it can be stale.
            key: The template of its keys.
            soft_ttl: Seconds after which it is refreshed while it is still served; None: shortly
                before it expires.
            negative_ttl: The same as ``ttl``, for negative entries.
            l1_ttl: Seconds that a value may also live in the L1 cache; 0 for not at all.
            schema: Raise it when the meaning of a field changes but its shape does not.
            reporter: Records the namespace's metrics.

        Raises:
            ValueError: The name is taken or invalid, or a TTL is not positive.
        """
        if not NAME.fullmatch(name) or name in self._namespaces or name == RESERVED:
            raise ValueError(f"cache namespace {name!r}: use a new name of a-z, 0-9, _ and -")
        if min(ttl, negative_ttl, 1 if soft_ttl is None else soft_ttl) <= 0 or l1_ttl < 0:
            raise ValueError(
                f"cache namespace {name!r}: ttl, soft_ttl, negative_ttl must be above 0 s"
            )
        info = CacheInfo(name, reporter or NullReporter())
        self._store.register(info)
        self._infos.append(info)
        namespace = Namespace(
            self._store,
            info,
            Codec(type, schema),
            l1=self._l1,
            template=KeyTemplate(key),
            options=Options(ttl, soft_ttl, negative_ttl, l1_ttl, LOAD_DEADLINE_SECONDS),
            loads=self._loads,
        )
        self._namespaces[name] = namespace
        self._uses_l1 = self._uses_l1 or l1_ttl > 0
        return namespace

    def tag(self, name: str) -> InvalidationTarget:
        """Return the invalidation target of everything that was read under a tag."""
        return InvalidationTarget(TAG + shorten(name), is_generation=True, info=self._tags)

    def target(self, name: str, *, is_generation: bool) -> InvalidationTarget:
        """Return the target of a name, as recorded by another process."""
        owner = name.partition(":")[0]
        info = next((info for info in self._infos if info.name == owner), self._tags)
        return InvalidationTarget(name, is_generation=is_generation, info=info)

    # -- Writing -----------------------------------------------------------------------------

    async def invalidate(self, *targets: InvalidationTarget) -> None:
        """Drop values; call it after a commit. Never raises: failures are queued."""
        await self._store.invalidate(targets)

    async def intend(self, *targets: InvalidationTarget, token: bytes = b"") -> WriteIntent:
        """Announce a write before its commit: drop values, and refuse fills until ``release``.

        Never raises. The intent expires after 15 s if the process dies.

        Args:
            targets: What will change.
            token: Of the intent of another process, which cannot reach the store.
        """
        return await self._store.intend(WriteIntent(targets, token=token or new_token()))

    async def invalidate_now(self, *targets: InvalidationTarget) -> bool:
        """Drop values without queueing; return whether the store was available."""
        return self.shared is None or await self.shared.invalidate_now(targets)

    async def release(self, intent: WriteIntent) -> None:
        """End a write intent after its commit."""
        await self._store.invalidate(intent.targets, intent)

    @asynccontextmanager
    async def writing(self, *targets: InvalidationTarget) -> AsyncIterator[WriteIntent]:
        """Hold a write intent during the block, which commits.

        After an exception the intent stays: a COMMIT that failed may still have happened.
        """
        intent = await self.intend(*targets)
        yield intent
        await self.release(intent)

    @property
    def everything(self) -> tuple[InvalidationTarget, ...]:
        """Invalidation targets of all namespaces."""
        return tuple(
            InvalidationTarget(info.name, is_generation=True, info=info) for info in self._infos
        )

    # -- Life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Subscribe to invalidations, if a namespace uses the L1 cache."""
        if self._subscriber is not None and self._uses_l1:
            await self._subscriber.start()
            self._report_subscription()

    def before_recovery(self, catch_up: Callable[[], Awaitable[None]]) -> None:
        """Await ``catch_up`` when the store is available again, before reads use it."""
        if self.shared is not None:
            self.shared.queue.catch_up = catch_up

    @property
    def shared(self) -> RedisStore | None:
        """The store, if processes share it."""
        return self._store if isinstance(self._store, RedisStore) else None

    @property
    def is_shared(self) -> bool:
        """Whether other processes see the same values."""
        return self.shared is not None

    @property
    def is_subscribed(self) -> bool:
        """Whether other processes' invalidations are received."""
        return self._l1.active

    async def ping(self) -> bool:
        """Return whether the store answers and reads use it; takes at most a quarter second."""
        return await self._store.ping()

    async def close(self) -> None:
        """Cancel loads, try to deliver pending invalidations, and disconnect."""
        for namespace in self._namespaces.values():
            await namespace.close()
        if self._subscriber is not None:
            await self._subscriber.close()
        await self._store.close()

    def _on_subscription(self, connected: bool) -> None:  # noqa: FBT001 - the subscriber's callback
        if connected != self._l1.active:
            self._l1.reset(active=connected)
            self._report_subscription()

    def _report_subscription(self) -> None:
        for info in self._infos:
            info.reporter.bus_connected(connected=self._l1.active)
