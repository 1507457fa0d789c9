"""Distributed lock in Redis: one of several processes does a job."""

from vitals.cache.redis.client import RedisClient


class Lock:
    """Lock that expires. Every method may raise ``StoreUnavailableError``.

    Args:
        client: Of Redis.
        name: Of its key.
    """

    def __init__(self, client: RedisClient, name: str) -> None:
        self._client = client
        self._name = name

    async def acquire(self, milliseconds: int) -> bool:
        """Acquire it for the given time at most; return whether it was free."""
        return bool(await self._client.send("SET", self._name, 1, "NX", "PX", milliseconds))

    async def is_held(self) -> bool:
        """Return whether a process holds it."""
        return bool(await self._client.send("EXISTS", self._name))

    async def release(self) -> None:
        """Release it."""
        await self._client.send("UNLINK", self._name)
