"""What the cache needs of Redis: one server, the master that Sentinels name, or a cluster."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from service.cache.core.store import Patience
from service.cache.redis.batch import Values
from service.cache.redis.cluster import ClusterClient
from service.cache.redis.connection import Command, Connection
from service.cache.redis.single import SingleClient
from service.cache.redis.url import RedisUrl, Server


class RedisClient(Protocol):
    """Sends commands to Redis. What it sends raises ``StoreUnavailableError``."""

    @property
    def is_open(self) -> bool:
        """Whether a circuit is open: callers are turned away."""

    async def send(self, *command: str | bytes | int, patience: Patience | None = None) -> Any:
        """Send one command."""

    async def send_all(self, *commands: Command, patience: Patience | None = None) -> list[Any]:
        """Send several commands at once and return their answers."""

    def read(self, names: tuple[str, ...]) -> Awaitable[Values]:
        """Read keys, together with others who read."""

    def origin(self, names: tuple[str, ...]) -> bytes:
        """What identifies the runs of the servers that hold keys."""

    @property
    def runs(self) -> dict[Server, bytes]:
        """The same of each server that is connected."""

    async def subscriber(self) -> Connection:
        """A connection, not open, to a server where all that is published is received."""

    async def close(self) -> None:
        """Disconnect."""


def connect(
    url: str,
    password: str | None,
    timeout: float,
    changed: Callable[[bool], None] = lambda _available: None,
) -> RedisClient:
    """Choose a client; nothing is connected before the first command.

    Args:
        url: See ``docs/caching.md``.
        password: Used when the URL has none.
        timeout: Seconds an answer may take.
        changed: Called with False when a circuit opens and with True when all are closed.

    Raises:
        ValueError: The URL is of another kind.
    """
    parsed = RedisUrl.parse(url, password)
    if parsed.kind == "cluster":
        return ClusterClient(parsed, timeout, changed)
    return SingleClient(parsed, timeout, changed)
