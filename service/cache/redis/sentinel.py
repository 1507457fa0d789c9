"""Redis Sentinel: where the master is, asked before each attempt to connect."""

import asyncio
from typing import Any

from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError

from service.cache.redis.connection import FAILURES, Connection, pack
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
                    return await self._locate(options)
                except AuthenticationError:
                    return await self._locate(options | {"username": None, "password": None})
        except FAILURES:
            return None

    async def _locate(self, options: dict[str, Any]) -> Server | None:
        # Not by redis-py's Sentinel: one that is cancelled while it connects leaks the connection.
        connection = Connection(options)
        try:
            await connection.connect()
            question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._url.service)
            [found] = await connection.exchange(pack(question), 1)
        finally:
            await connection.drop()
        return (found[0].decode(), int(found[1])) if isinstance(found, list) else None
