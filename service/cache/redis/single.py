"""The client of one Redis server, or of the master that Sentinels name."""

from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError

from service.cache.core.store import Patience, StoreUnavailableError
from service.cache.redis.connection import Command, Connection
from service.cache.redis.node import Node
from service.cache.redis.sentinel import MasterLocator
from service.cache.redis.url import RedisUrl, Server


class SingleClient(Node):
    """Sends everything to one server; see ``RedisClient``.

    Args:
        url: Of the server, or of the Sentinels.
        timeout: Seconds that an answer may take.
        changed: Called with False when the circuit opens and with True when it closes.
    """

    def __init__(self, url: RedisUrl, timeout: float, changed: Callable[[bool], None]) -> None:
        locate = MasterLocator(url, timeout) if url.kind == "sentinel" else None
        super().__init__(Connection(url.connection_options()), timeout, changed, locate=locate)
        self._url = url

    async def send(self, *command: str | bytes | int, patience: Patience | None = None) -> Any:
        """Send one command.

        Raises:
            StoreUnavailableError: Redis is unavailable, late, or refuses.
        """
        return (await self.send_all(command, patience=patience))[0]

    async def send_all(self, *commands: Command, patience: Patience | None = None) -> list[Any]:
        """Send several commands at once and return their answers.

        Raises:
            StoreUnavailableError: As above, also if Redis refuses one of them.
        """
        answers = await self.ask(*commands, patience=patience)
        for answer in answers:
            if isinstance(answer, RedisError):
                raise StoreUnavailableError("error") from answer
        return answers

    def origin(self, _names: tuple[str, ...]) -> bytes:
        """Four bytes that identify the run of the server."""
        return self.run

    @property
    def runs(self) -> dict[Server, bytes]:
        """The same by server; there is only one."""
        return {("", 0): self.run} if self.run else {}

    async def subscriber(self) -> Connection:
        """A connection to the server, not open."""
        server = None if self._locate is None else await self._locate()
        return Connection(self._url.connection_options(server))
