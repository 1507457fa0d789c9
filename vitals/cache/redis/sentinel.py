"""Redis Sentinel: finds the master before each attempt to connect."""

import asyncio
from typing import Any

from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError

from vitals.cache.redis.connection import FAILURES, Connection, pack
from vitals.cache.redis.url import RedisUrl, Server


class MasterLocator:
    """Finds the master of a service.

    Args:
        url: Of the Sentinels. Its credentials and TLS are for them too; a Sentinel without
            passwords is queried without.
        timeout: Seconds that each of them may take.
    """

    def __init__(self, url: RedisUrl, timeout: float) -> None:
        self._url = url
        self._timeout = timeout

    async def __call__(self) -> Server:
        """Query all at once, so that one that hangs does not delay the others.

        Raises:
            ConnectionError: None of them knows a master.
        """
        queries = [asyncio.ensure_future(self._query(server)) for server in self._url.servers]
        try:
            for answer in asyncio.as_completed(queries):
                if found := await answer:
                    return found
        finally:
            for query in queries:
                query.cancel()
            await asyncio.gather(*queries, return_exceptions=True)
        raise RedisConnectionError(f"no Sentinel knows a master {self._url.service!r}")

    async def _query(self, server: Server) -> Server | None:
        options = self._url.connection_options(server) | {"db": 0}
        try:
            async with asyncio.timeout(self._timeout):
                try:
                    return await self._locate(options)
                except AuthenticationError:
                    return await self._locate(options | {"username": None, "password": None})
        except FAILURES:
            return None

    async def _locate(self, options: dict[str, Any]) -> Server | None:
        # Not with redis-py's Sentinel, which leaks the connection if cancelled while connecting.
        connection = Connection(options)
        try:
            await connection.connect()
            request = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._url.service)
            [found] = await connection.exchange(pack(request), 1)
        finally:
            await connection.drop()
        return (found[0].decode(), int(found[1])) if isinstance(found, list) else None
