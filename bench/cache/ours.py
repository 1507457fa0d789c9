"""Ours, and Redis without any cache around it."""

from typing import Any

from redis.asyncio import Redis

from bench.cache.source import LIFETIME_SECONDS, Source
from service.cache.cache import Cache
from vitals.cache_metrics import CacheReporter
from vitals.metrics.meter import Meter


class Ours:
    """This service's cache, measuring itself as in production.

    Args:
        near: Seconds that values also live in this process.
        rendered: Whether values are asked for as they are sent, undecoded.
        timeout: Seconds that Redis is waited for; long, where a busy machine should be no
            trouble of Redis.
    """

    def __init__(
        self,
        url: str,
        source: Source,
        *,
        near: float = 0,
        rendered: bool,
        timeout: float = 10,
    ) -> None:
        self.cache = Cache.connect(url, timeout=timeout)
        name = f"near{near:g}".replace(".", "_")
        values = self.cache.namespace(
            name,
            type=dict[str, Any],
            ttl=LIFETIME_SECONDS,
            reporter=CacheReporter(Meter(), name),
            l1_ttl=near,
        )
        self._values = values
        self.near = near
        self.source = source
        self.read: Any = values.render if rendered else values.get_or_load

    async def start(self) -> None:
        """Open what keeps values in this process honest."""
        await self.cache.start()

    async def get(self, key: str) -> object:
        """The value."""
        return await self.read(key, lambda: self.source.load(key))

    async def invalidate(self, key: str) -> None:
        """Forget it."""
        await self._values.invalidate(key)

    async def is_used(self) -> bool:
        """Whether Redis answers, and tells what other processes invalidate."""
        return await self.cache.ping() and self.cache.is_subscribed

    async def close(self) -> None:
        """Let go."""
        await self.cache.close()


class Raw:
    """redis-py's GET: the floor. Nothing is decoded, nothing happens on a miss."""

    def __init__(self, url: str) -> None:
        self._client: Any = Redis.from_url(url)

    async def put(self, key: str, stored: bytes) -> None:
        """Make a later get find something."""
        await self._client.set(key, stored, ex=LIFETIME_SECONDS)

    async def get(self, key: str) -> object:
        """The bytes."""
        return await self._client.get(key)

    async def close(self) -> None:
        """Let go."""
        await self._client.aclose()
