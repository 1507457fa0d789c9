"""This project's cache, and plain GETs to Redis."""

from typing import Any

from redis.asyncio import Redis

from bench.cache.source import TTL_SECONDS, Source
from vitals.cache.cache import Cache
from vitals.cache.reporter import CacheReporter
from vitals.metrics.meter import Meter


class Ours:
    """This project's cache, with metrics as in production.

    Args:
        l1_ttl: TTL of the L1 cache in seconds; 0 for none.
        rendered: Whether to read values as stored, undecoded.
        timeout: Timeout of Redis in seconds; long, so that a busy machine does not count as an
            outage.
    """

    def __init__(
        self,
        url: str,
        source: Source,
        *,
        l1_ttl: float = 0,
        rendered: bool,
        timeout: float = 10,
    ) -> None:
        self.cache = Cache(url, timeout=timeout)
        name = f"near{l1_ttl:g}".replace(".", "_")
        values = self.cache.namespace(
            name,
            schema=dict[str, Any],
            ttl=TTL_SECONDS,
            reporter=CacheReporter(Meter(), name),
            l1_ttl=l1_ttl,
        )
        self._values = values
        self.l1_ttl = l1_ttl
        self.source = source
        self.read: Any = values.render if rendered else values.get

    async def start(self) -> None:
        """Subscribe to invalidations, for the L1 cache."""
        await self.cache.start()

    async def get(self, key: str) -> object:
        """Get the value."""
        return await self.read(key, lambda: self.source.load(key))

    async def invalidate(self, key: str) -> None:
        """Invalidate it."""
        await self._values.invalidate(key)

    async def is_used(self) -> bool:
        """Whether Redis responds and the subscription is active."""
        return await self.cache.ping() and self.cache.is_subscribed

    async def close(self) -> None:
        """Close connections."""
        await self.cache.close()


class Raw:
    """redis-py's GET, the lower bound: no decoding, nothing on a miss."""

    def __init__(self, url: str) -> None:
        self._client: Any = Redis.from_url(url)

    async def put(self, key: str, stored: bytes) -> None:
        """Store a value."""
        await self._client.set(key, stored, ex=TTL_SECONDS)

    async def get(self, key: str) -> object:
        """Get the bytes."""
        return await self._client.get(key)

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()
