"""Cache: namespaces that share one store, in this process or in Redis."""

import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from vitals.cache.core.codec import Codec
from vitals.cache.core.keys import KeyTemplate, shorten
from vitals.cache.core.l1 import L1Cache
from vitals.cache.core.load_limit import LoadLimit
from vitals.cache.core.loader import Options
from vitals.cache.core.memory_store import MemoryStore
from vitals.cache.core.metrics import NullReporter, Reporter
from vitals.cache.core.namespace import Namespace
from vitals.cache.core.running import Running
from vitals.cache.core.store import (
    TAG,
    CacheInfo,
    InvalidationTarget,
    Store,
    WriteIntent,
    new_token,
)
from vitals.cache.reporter import CacheReporter
from vitals.metrics.worker_discovery import server_pid

if TYPE_CHECKING:  # the packages of the extra `cache`
    from vitals.cache.redis.pubsub import Subscriber
    from vitals.cache.redis.store import RedisStore
    from vitals.host import Host

log = logging.getLogger(__name__)

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
PREFIX = re.compile(r"[A-Za-z0-9_.:-]*")
NAME = re.compile(r"[a-z][a-z0-9_-]*")
RESERVED = "tag"


class Cache(Running):
    """A set of namespaces that share one store and its connection.

    Use it as a context manager while the application serves, or call ``start`` and ``close``.
    ``instrument(app, probes=[cache])`` records its metrics.

    Args:
        url: Of Redis, see ``docs/caching.md``: values are shared between processes. None or empty
            for a store in this process. The first command connects.
        password: Used when the URL has none.
        timeout: Longest seconds that a caller waits for Redis; then it goes on without.
        single_process: Whether this is the only process of the service. Without Redis, writes
            do not invalidate in other processes, so nothing is cached unless it is. By default
            workers of uvicorn, gunicorn, granian and hypercorn are detected.
        prefix: Of every key in Redis, such as ``shop:``, where several services share one.
        store: A store instead of a URL.

    Raises:
        ValueError: The URL's scheme is not supported, or the prefix is invalid.
        ModuleNotFoundError: The packages of the extra ``cache`` are not installed.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        password: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
        single_process: bool | None = None,
        prefix: str = "",
        store: Store | None = None,
    ) -> None:
        if not PREFIX.fullmatch(prefix):
            raise ValueError(f"cache prefix {prefix!r}: use letters, digits, _ . : and -")
        self._l1 = L1Cache()
        self._shared: RedisStore | None = None
        self._subscriber: Subscriber | None = None
        self._single_process = single_process
        if store is None and url:
            try:
                from vitals.cache.redis import store as redis  # noqa: PLC0415 - of an extra
            except ModuleNotFoundError as missing:
                raise ModuleNotFoundError("Redis needs the extra vitals-kit[cache]") from missing
            store = self._shared = redis.RedisStore(
                url, password=password, timeout=timeout, l1=self._l1, prefix=prefix
            )
        self._store: Store = store or MemoryStore()
        self._namespaces: dict[str, Namespace[Any]] = {}
        self._infos: list[CacheInfo] = []
        self._tags = CacheInfo(RESERVED)
        self._report: Callable[[str], Reporter] = lambda _name: NullReporter()
        self._loads = LoadLimit(MAX_CONCURRENT_LOADS)
        self._uses_l1 = False
        self._kept: list[object] = []
        self._closed = False
        self._check_workers()

    def namespace(
        self,
        name: str,
        *,
        schema: type[T],
        ttl: float,
        key: str | None = None,
        soft_ttl: float | None = None,
        negative_ttl: float = 15.0,
        l1_ttl: float = 0.0,
        version: int = 1,
        reporter: Reporter | None = None,
    ) -> Namespace[T]:
        """Make a namespace; once for each name.

        Args:
            name: Lower case, for keys and metrics.
            schema: What is cached: a pydantic model, a list of models, or builtins.
            ttl: Longest life of a value in seconds; the longest it can be stale.
            key: The template of its keys; ``{id}`` by default, or what its cached function says.
            soft_ttl: Seconds after which it is refreshed while it is still served; None: shortly
                before it expires.
            negative_ttl: The same as ``ttl``, for negative entries.
            l1_ttl: Seconds that a value may also live in the L1 cache; 0 for not at all.
            version: Raise it when the meaning of a field changes but its shape does not.
            reporter: Records the namespace's metrics, instead of ``instrument``.

        Raises:
            ValueError: The name is taken or invalid, or a TTL is not positive.
        """
        if not NAME.fullmatch(name) or name in self._namespaces or name == RESERVED:
            raise ValueError(f"cache namespace {name!r}: use a new name of a-z, 0-9, _ and -")
        if min(ttl, negative_ttl, 1 if soft_ttl is None else soft_ttl) <= 0 or l1_ttl < 0:
            raise ValueError(
                f"cache namespace {name!r}: ttl, soft_ttl, negative_ttl must be above 0 s"
            )
        info = CacheInfo(name, reporter or self._report(name))
        self._store.register(info)
        self._infos.append(info)
        namespace = Namespace(
            self._store,
            info,
            Codec(schema, version),
            l1=self._l1,
            template=None if key is None else KeyTemplate(key),
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

    def hold(self, intent: WriteIntent) -> None:
        """Announce a write where nothing can be awaited.

        A cache in this process knows it at once. Redis is bypassed by this process until the
        intent is delivered or over; others must hear of the write in another way.
        """
        self._store.hold(intent)

    async def invalidate_now(self, *targets: InvalidationTarget) -> bool:
        """Drop values without queueing; return whether the store was available."""
        return self._shared is None or await self._shared.invalidate_now(targets)

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

    def attach(self, host: "Host") -> None:
        """Record the metrics and spans of all namespaces in an application that is instrumented."""
        system = "" if self._shared is None else "redis"
        server = "" if self._shared is None else self._shared.address
        self._report = lambda name: CacheReporter(
            host.meter, name, host.make_span, system=system, server=server
        )
        for info in self._infos:
            if isinstance(info.reporter, NullReporter):
                info.reporter = self._report(info.name)
                self._store.register(info)

    async def start(self) -> None:
        """Subscribe to invalidations, if a namespace uses the L1 cache."""
        self._check_workers()
        if self._closed:
            self._store.reopen()
            self._closed = False
        if self._shared is not None and self._uses_l1:
            self._subscriber = self._shared.subscriber(self._on_subscription)
            await self._subscriber.start()
            self._report_subscription()

    def before_recovery(self, catch_up: Callable[[], Awaitable[None]]) -> None:
        """Await ``catch_up`` when the store is available again, before reads use it."""
        if self._shared is not None:
            self._shared.queue.catch_up = catch_up

    def keep(self, part: object) -> None:
        """Keep a reference to what works for this cache, as long as the cache lives."""
        self._kept.append(part)

    @property
    def shared(self) -> "RedisStore | None":
        """The store, if processes share it."""
        return self._shared

    @property
    def is_shared(self) -> bool:
        """Whether other processes see the same values."""
        return self._shared is not None

    @property
    def is_subscribed(self) -> bool:
        """Whether other processes' invalidations are received."""
        return self._l1.active

    async def ping(self) -> bool:
        """Return whether the store answers and reads use it; takes at most a quarter second."""
        return await self._store.ping()

    async def close(self) -> None:
        """Cancel loads, try to deliver pending invalidations, and disconnect."""
        self._closed = True
        for namespace in self._namespaces.values():
            await namespace.close()
        if self._subscriber is not None:
            await self._subscriber.close()
        await self._store.close()

    def _check_workers(self) -> None:
        """Store nothing in this process if other processes serve too.

        Checked again at the start: a server may fork workers after the application was made.
        """
        single = server_pid() is None if self._single_process is None else self._single_process
        if isinstance(self._store, MemoryStore) and not single and self._store.disable():
            log.warning(
                "nothing is cached: workers share no cache without Redis; "
                "give Cache its URL, or single_process=True if there is one worker"
            )

    def _on_subscription(self, connected: bool) -> None:  # noqa: FBT001 - the subscriber's callback
        if connected != self._l1.active:
            self._l1.reset(active=connected)
            self._report_subscription()

    def _report_subscription(self) -> None:
        for info in self._infos:
            info.reporter.bus_connected(connected=self._l1.active)
