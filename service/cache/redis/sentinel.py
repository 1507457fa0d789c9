"""Redis Sentinel: where the master is, asked before each attempt to connect."""

import asyncio
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError

from service.cache.redis.connection import FAILURES
from service.cache.redis.url import RedisUrl, Server


class MasterLocator:
    """Finds the master of a service.

    Args:
        url: Of the Sentinels. Its credentials and TLS are for them too, but a Sentinel that knows
            no passwords is asked without.
        timeout: Seconds that each of them may take.
    """

    def __init__(self, url: RedisUrl, timeout: float) -> None:
        self._url = url
        self._timeout = timeout

    async def __call__(self) -> Server:
        """Ask all at once, so that one that hangs does not keep the others from answering.

        Raises:
            ConnectionError: None of them knows a master.
        """
        asking = [asyncio.ensure_future(self._ask(server)) for server in self._url.servers]
        try:
            for answer in asyncio.as_completed(asking):
                if found := await answer:
                    return found
        finally:
            for question in asking:
                question.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        raise RedisConnectionError(f"no Sentinel knows a master {self._url.service!r}")

    async def _ask(self, server: Server) -> Server | None:
        options = self._url.connection_options(server) | {"db": 0}
        try:
            async with asyncio.timeout(self._timeout):
                try:
                    return await self._discover(options)
                except (AuthenticationError, MasterNotFoundError):
                    return await self._discover(options | {"username": None, "password": None})
        except FAILURES:
            return None

    async def _discover(self, options: dict[str, Any]) -> Server:
        sentinel: Any = Sentinel([])  # type: ignore[no-untyped-call]
        sentinel.sentinels = [Redis.from_pool(ConnectionPool(**options))]
        try:
            host, port = await sentinel.discover_master(self._url.service)
        finally:
            await sentinel.aclose()
        return str(host), int(port)
