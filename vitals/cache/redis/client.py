"""Interface of the Redis clients: one server, a master found by Sentinel, or a cluster."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from vitals.cache.core.store import TimeoutBudget
from vitals.cache.redis.batch import Values
from vitals.cache.redis.cluster import ClusterClient
from vitals.cache.redis.connection import Command, Connection
from vitals.cache.redis.single import SingleClient
from vitals.cache.redis.url import RedisUrl, Server


class RedisClient(Protocol):
    """Sends commands to Redis; all of them may raise ``StoreUnavailableError``."""

    @property
    def is_open(self) -> bool:
        """Whether a circuit is open: callers are refused."""

    async def send(self, *command: str | bytes | int, budget: TimeoutBudget | None = None) -> Any:
        """Send one command."""

    async def send_all(self, *commands: Command, budget: TimeoutBudget | None = None) -> list[Any]:
        """Send several commands at once and return their replies."""

    def read(self, names: tuple[str, ...]) -> Awaitable[Values]:
        """Read keys, batched with other callers' reads."""

    def origin(self, names: tuple[str, ...]) -> bytes:
        """Return the run ids of the servers that hold the keys."""

    @property
    def run_ids(self) -> dict[Server, bytes]:
        """Run id of each connected server."""

    async def subscriber(self) -> Connection:
        """Return a connection, not open, to a server where all messages are received."""

    async def close(self) -> None:
        """Disconnect."""


def connect_redis(
    url: str,
    password: str | None,
    timeout: float,
    changed: Callable[[bool], None] = lambda _available: None,
    failed: Callable[[Exception], None] = lambda _reason: None,
) -> RedisClient:
    """Choose a client; the first command connects.

    Args:
        url: See ``docs/caching.md``.
        password: Used when the URL has none.
        timeout: Seconds a reply may take.
        changed: Called with False when a circuit opens and with True when all are closed.
        failed: Called with the reason of each attempt to connect that failed.

    Raises:
        ValueError: The URL's scheme is not supported.
    """
    parsed = RedisUrl.parse(url, password)
    if parsed.kind == "cluster":
        return ClusterClient(parsed, timeout, changed, failed)
    return SingleClient(parsed, timeout, changed, failed)
