"""The client of one Redis server, or of the master that Sentinels name."""

from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError

from service.cache.backend import Patience, StoreUnavailableError
from service.cache.redis.batch import Values
from service.cache.redis.connection import Command, Connection
from service.cache.redis.node import Locate, Node
from service.cache.redis.sentinel import MasterLocator
from service.cache.redis.url import RedisUrl, Server


class SingleClient:
    """Sends everything to one server; see ``RedisClient``.

    Args:
        url: Of the server, or of the Sentinels.
        timeout: Seconds that an answer may take.
        changed: Called with False when the circuit opens and with True when it closes.
    """

    def __init__(self, url: RedisUrl, timeout: float, changed: Callable[[bool], None]) -> None:
        self._url = url
        self._locate: Locate | None = None
        if url.kind == "sentinel":
            self._locate = MasterLocator(url, timeout)
        connection = Connection(url.connection_options())
        self._node = Node(connection, timeout, changed, locate=self._locate)

    @property
    def is_open(self) -> bool:
        """Whether the circuit is open."""
        return self._node.is_open

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
        answers = await self._node.ask(*commands, patience=patience)
        for answer in answers:
            if isinstance(answer, RedisError):
                raise StoreUnavailableError("error") from answer
        return answers

    async def read(self, names: tuple[str, ...]) -> Values:
        """Read keys.

        Raises:
            StoreUnavailableError: Redis is unavailable, late, or refuses.
        """
        return await self._node.read(names)

    def origin(self, _names: tuple[str, ...]) -> bytes:
        """Four bytes that identify the run of the server."""
        return self._node.run

    @property
    def runs(self) -> dict[Server, bytes]:
        """The same by server; there is only one."""
        return {("", 0): run} if (run := self._node.run) else {}

    async def subscriber(self) -> Connection:
        """A connection to the server, not open."""
        server = None if self._locate is None else await self._locate()
        return Connection(self._url.connection_options(server))

    async def close(self) -> None:
        """Disconnect."""
        await self._node.close()
