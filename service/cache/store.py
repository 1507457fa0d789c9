"""The cache: namespaces over one store, in this process or in Redis."""

import re
from typing import Any, TypeVar

from service.cache.backend import Backend, Region
from service.cache.codec import Codec
from service.cache.memory import MemoryBackend
from service.cache.namespace import Namespace
from service.cache.redis import RedisBackend
from service.cache.report import Report, Silent

T = TypeVar("T")

TIMEOUT_SECONDS = 0.25  # much below, a busy event loop is mistaken for a dead Redis
LOAD_DEADLINE_SECONDS = 10.0
NAME = re.compile(r"[a-z][a-z0-9_-]*")


class Cache:
    """Makes namespaces that share one store, its breaker and its connections.

    ``Cache.connect("redis://localhost")`` shares values between processes;
    ``Cache.connect("")`` keeps them in this one.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._namespaces: dict[str, Namespace[Any]] = {}

    @classmethod
    def connect(
        cls, url: str = "", *, password: str | None = None, timeout: float = TIMEOUT_SECONDS
    ) -> "Cache":
        """Choose the store; nothing is connected before the first command.

        Args:
            url: ``redis://``, ``rediss://`` or ``unix://``; empty for a store in this process.
            password: Used when the URL has none.
            timeout: Seconds that a caller waits for Redis at most, then it goes on without.

        Raises:
            ValueError: The URL is of another kind.
        """
        if not url:
            return cls(MemoryBackend())
        claim_seconds = LOAD_DEADLINE_SECONDS + 5  # outlives any load
        return cls(
            RedisBackend(url, password=password, timeout=timeout, claim_seconds=claim_seconds)
        )

    def namespace(
        self,
        name: str,
        *,
        type: type[T],  # noqa: A002 - the word for it
        ttl: float,
        negative_ttl: float = 15.0,
        schema: int = 1,
        report: Report | None = None,
    ) -> Namespace[T]:
        """Make a namespace; once for each name.

        Args:
            name: Lower case, for keys and metrics.
            type: What is cached: a pydantic model, a list of models, or builtins.
            ttl: Seconds a value lives at most; the longest it can be stale.
            negative_ttl: The same for "there is none".
            schema: Raise it when the meaning of a field changes but its shape does not.
            report: Whom to tell; nobody by default.

        Raises:
            ValueError: The name is taken or unfit, or a TTL is not above 0.
        """
        if not NAME.fullmatch(name) or name in self._namespaces:
            raise ValueError(f"cache namespace {name!r}: use a new name of a-z, 0-9, _ and -")
        if min(ttl, negative_ttl) <= 0:
            raise ValueError(f"cache namespace {name!r}: ttl and negative_ttl must be above 0 s")
        region = Region(name, report or Silent())
        self._backend.register(region)
        namespace = Namespace(
            self._backend,
            region,
            Codec(type, schema),
            ttl=ttl,
            negative_ttl=negative_ttl,
            load_deadline=LOAD_DEADLINE_SECONDS,
        )
        self._namespaces[name] = namespace
        return namespace

    async def ping(self) -> bool:
        """Tell whether the store answers and is trusted; at most a quarter of a second late."""
        return await self._backend.ping()

    async def close(self) -> None:
        """End loads, deliver owed invalidations if that is possible, and disconnect."""
        for namespace in self._namespaces.values():
            await namespace.close()
        await self._backend.close()
