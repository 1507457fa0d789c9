"""Client of one Redis server, or of a master found by Sentinel."""

from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError

from vitals.cache.core.store import StoreUnavailableError, TimeoutBudget
from vitals.cache.redis.connection import Command, Connection
from vitals.cache.redis.node import Node
from vitals.cache.redis.sentinel import MasterLocator
from vitals.cache.redis.url import RedisUrl, Server


class SingleClient(Node):
    """Sends everything to one server; see ``RedisClient``.

    Args:
        url: Of the server, or of the Sentinels.
        timeout: Seconds that a reply may take.
        changed: Called with False when the circuit opens and with True when it closes.
        failed: Called with the reason of each attempt to connect that failed.
    """

    def __init__(
        self,
        url: RedisUrl,
        timeout: float,
        changed: Callable[[bool], None],
        failed: Callable[[Exception], None],
    ) -> None:
        locate = MasterLocator(url, timeout) if url.kind == "sentinel" else None
        connection = Connection(url.connection_options())
        super().__init__(connection, timeout, changed, failed, locate=locate)
        self._url = url

    async def send(self, *command: str | bytes | int, budget: TimeoutBudget | None = None) -> Any:
        """Send one command.

        Raises:
            StoreUnavailableError: Redis is unavailable, late, or refuses.
        """
        return (await self.send_all(command, budget=budget))[0]

    async def send_all(self, *commands: Command, budget: TimeoutBudget | None = None) -> list[Any]:
        """Send several commands at once and return their replies.

        Raises:
            StoreUnavailableError: As above, also if Redis refuses one of them.
        """
        replies = await self.execute(*commands, budget=budget)
        if refused := tuple(reply for reply in replies if isinstance(reply, RedisError)):
            raise StoreUnavailableError("error", refused) from refused[0]
        return replies

    def origin(self, _names: tuple[str, ...]) -> bytes:
        """Return four bytes of the server's run id."""
        return self.run_id

    @property
    def run_ids(self) -> dict[Server, bytes]:
        """The run id of the only server."""
        return {("", 0): self.run_id} if self.run_id else {}

    async def subscriber(self) -> Connection:
        """Return a connection to the server, not open."""
        server = None if self._locate is None else await self._locate()
        return Connection(self._url.connection_options(server))
