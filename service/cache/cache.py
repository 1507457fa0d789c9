"""The cache: namespaces over one store, in this process or in Redis."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from service.cache.core.codec import Codec
from service.cache.core.keys import Template, short
from service.cache.core.l1 import Near
from service.cache.core.loader import Options
from service.cache.core.memory_store import MemoryBackend
from service.cache.core.metrics import Report, Silent
from service.cache.core.namespace import Namespace
from service.cache.core.store import Backend, Intent, Mark, Region, new_token
from service.cache.redis.pubsub import Subscriber
from service.cache.redis.store import TAG, RedisBackend

T = TypeVar("T")

TIMEOUT_SECONDS = 0.2
"""A caller is late by this, its load, and what a busy machine adds: 250 ms are promised.

A busy event loop is not taken for a dead Redis. After a stall what has arrived is read before an
answer counts as late (`node.GRACE_SECONDS`), and it takes three slow answers in a row, at half of
this or more, to turn from Redis (`node.SLOW_ANSWERS`), which costs loads and nothing else.
"""
LOAD_DEADLINE_SECONDS = 10.0
LOADS_AT_ONCE = 32
"""So many loads of one process may be under way: a cold cache must not be the database's end."""
NAME = re.compile(r"[a-z][a-z0-9_-]*")
RESERVED = "tag"


class Cache:
    """Makes namespaces that share one store and its connection.

    ``Cache.connect("redis://localhost")`` shares values between processes;
    ``Cache.connect("")`` keeps them in this one.
    """

    def __init__(self, backend: Backend, near: Near | None = None) -> None:
        self._backend = backend
        self._near = near or Near()
        self._namespaces: dict[str, Namespace[Any]] = {}
        self._regions: list[Region] = []
        self._tags = Region(RESERVED)
        self._loads = asyncio.Semaphore(LOADS_AT_ONCE)
        self._uses_l1 = False
        self._bus: Subscriber | None = None
        if isinstance(backend, RedisBackend):
            self._bus = Subscriber(
                backend.client.subscriber,
                backend.channel,
                backend.timeout,
                self._near.drop,
                self._tell_bus,
            )

    @classmethod
    def connect(
        cls,
        url: str = "",
        *,
        password: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
        alone: bool = True,
    ) -> "Cache":
        """Choose the store; nothing is connected before the first command.

        Args:
            url: See ``docs/caching.md``; empty for a store in this process.
            password: Used when the URL has none.
            timeout: Seconds that a caller waits for Redis at most, then it goes on without.
            alone: Whether this process alone serves. Without Redis, others would not hear of
                what it writes, so that nothing is kept unless it is.

        Raises:
            ValueError: The URL is of another kind.
        """
        if not url:
            return cls(MemoryBackend() if alone else MemoryBackend(max_bytes=0))
        near = Near()
        return cls(RedisBackend(url, password=password, timeout=timeout, near=near), near)

    def namespace(
        self,
        name: str,
        *,
        type: type[T],  # noqa: A002 - the word for it
        ttl: float,
        key: str = "{id}",
        soft: float | None = None,
        negative_ttl: float = 15.0,
        l1: float = 0.0,
        schema: int = 1,
        report: Report | None = None,
    ) -> Namespace[T]:
        """Make a namespace; once for each name.

        Args:
            name: Lower case, for keys and metrics.
            type: What is cached: a pydantic model, a list of models, or builtins.
            ttl: Seconds a value lives at most; the longest it can be stale.
            key: The template of its keys.
            soft: Seconds after which it is refreshed, while it is still served; None: shortly
                before its end.
            negative_ttl: The same as ``ttl`` for "there is none".
            l1: Seconds that a value may also live in this process; 0 for not at all.
            schema: Raise it when the meaning of a field changes but its shape does not.
            report: Whom to tell; nobody by default.

        Raises:
            ValueError: The name is taken or unfit, or a time makes no sense.
        """
        if not NAME.fullmatch(name) or name in self._namespaces or name == RESERVED:
            raise ValueError(f"cache namespace {name!r}: use a new name of a-z, 0-9, _ and -")
        if min(ttl, negative_ttl, 1 if soft is None else soft) <= 0 or l1 < 0:
            raise ValueError(f"cache namespace {name!r}: ttl, soft, negative_ttl must be above 0 s")
        region = Region(name, report or Silent())
        self._backend.register(region)
        self._regions.append(region)
        namespace = Namespace(
            self._backend,
            region,
            Codec(type, schema),
            near=self._near,
            template=Template(key),
            options=Options(ttl, soft, negative_ttl, l1, LOAD_DEADLINE_SECONDS),
            loads=self._loads,
        )
        self._namespaces[name] = namespace
        self._uses_l1 = self._uses_l1 or l1 > 0
        return namespace

    def tag(self, name: str) -> Mark:
        """What a write invalidates with everything that was read under a tag."""
        return Mark(TAG + short(name), whole=True, region=self._tags)

    def mark(self, name: str, *, whole: bool) -> Mark:
        """The mark of a name that a mark once had."""
        owner = name.partition(":")[0]
        region = next((region for region in self._regions if region.name == owner), self._tags)
        return Mark(name, whole=whole, region=region)

    # -- Writing -----------------------------------------------------------------------------

    async def invalidate(self, *marks: Mark) -> None:
        """Drop values; call it after a commit. Never raises: what fails is owed."""
        await self._backend.invalidate(marks)

    async def intend(self, *marks: Mark, token: bytes = b"") -> Intent:
        """Say before a commit what it will change: values go, and nobody may store any.

        Never raises. It ends by itself after 15 s, if the process dies.

        Args:
            marks: What will change.
            token: Of the intent of another process, which cannot say it.
        """
        return await self._backend.intend(Intent(marks, token=token or new_token()))

    async def tell(self, *marks: Mark) -> bool:
        """Drop values if the store can be told now; if not, say so, and owe nothing."""
        return self.shared is None or await self.shared.tell(marks)

    async def release(self, intent: Intent) -> None:
        """Say after the commit that it is done."""
        await self._backend.invalidate(intent.marks, intent)

    @asynccontextmanager
    async def writing(self, *marks: Mark) -> AsyncIterator[Intent]:
        """Intend, and release at the end; commit inside.

        After an exception nothing is released: a COMMIT that failed may still have happened.
        """
        intent = await self.intend(*marks)
        yield intent
        await self.release(intent)

    @property
    def everything(self) -> tuple[Mark, ...]:
        """All values of all namespaces."""
        return tuple(Mark(region.name, whole=True, region=region) for region in self._regions)

    # -- Life --------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the bus, if there is a namespace with a layer in this process."""
        if self._bus is not None and self._uses_l1:
            await self._bus.start()
            self._report_bus()

    def before_trust(self, catch_up: Callable[[], Awaitable[None]]) -> None:
        """Await ``catch_up`` when the store is back, before it is trusted again."""
        if self.shared is not None:
            self.shared.courier.catch_up = catch_up

    @property
    def shared(self) -> RedisBackend | None:
        """The store, if processes share it."""
        return self._backend if isinstance(self._backend, RedisBackend) else None

    @property
    def is_shared(self) -> bool:
        """Whether other processes see the same values."""
        return self.shared is not None

    @property
    def is_subscribed(self) -> bool:
        """Whether what other processes invalidate is received."""
        return self._near.live

    async def ping(self) -> bool:
        """Tell whether the store answers and is trusted; at most a quarter of a second late."""
        return await self._backend.ping()

    async def close(self) -> None:
        """End loads, deliver owed invalidations if that is possible, and disconnect."""
        for namespace in self._namespaces.values():
            await namespace.close()
        if self._bus is not None:
            await self._bus.close()
        await self._backend.close()

    def _tell_bus(self, connected: bool) -> None:  # noqa: FBT001 - the subscriber's callback
        if connected != self._near.live:
            self._near.reset(live=connected)
            self._report_bus()

    def _report_bus(self) -> None:
        for region in self._regions:
            region.report.bus_connected(connected=self._near.live)
