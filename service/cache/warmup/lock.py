"""Whose turn it is: of the processes that would do the same thing, one does it."""

from service.cache.redis.client import RedisClient


class Turn:
    """Taken by one process at a time. What asks raises ``StoreUnavailableError``.

    Args:
        client: Of Redis.
        name: Of the key that says that it is taken.
    """

    def __init__(self, client: RedisClient, name: str) -> None:
        self._client = client
        self._name = name

    async def take(self, milliseconds: int) -> bool:
        """Take it, for so long at most; tell whether it was to be had."""
        return bool(await self._client.send("SET", self._name, 1, "NX", "PX", milliseconds))

    async def is_taken(self) -> bool:
        """Whether some process has it."""
        return bool(await self._client.send("EXISTS", self._name))

    async def end(self) -> None:
        """Give it back."""
        await self._client.send("UNLINK", self._name)
