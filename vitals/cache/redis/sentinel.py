"""Redis Sentinel: finds the master before each attempt to connect."""

import asyncio
from typing import Any

from redis.exceptions import AuthenticationError, NoPermissionError
from redis.exceptions import ConnectionError as RedisConnectionError

from vitals.cache.redis.connection import FAILURES, Connection, pack
from vitals.cache.redis.url import RedisUrl, Server

Login = dict[str, str | None]


class MasterLocator:
    """Finds the master of a service.

    Args:
        url: Of the Sentinels; its TLS is for them too. They are queried with their own login. If
            they have none, they are queried without one, and with that of the servers only if they
            ask for one: a password is not sent where it is not needed.
        timeout: Seconds that each of them may take.
    """

    def __init__(self, url: RedisUrl, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        servers = {name: url.options.get(name) for name in ("username", "password")}
        nobody = dict.fromkeys(servers)
        logins = (nobody, servers) if servers["password"] else (nobody,)
        self._logins: tuple[Login, ...] = (url.sentinel_login,) if url.sentinel_login else logins

    async def __call__(self) -> Server:
        """Query all at once, so that one that hangs does not delay the others.

        Raises:
            AuthenticationError: One of them wants another login, and no other one knows a master.
            ConnectionError: None of them knows a master.
        """
        refusals: list[Exception] = []
        queries = [
            asyncio.ensure_future(self._query(server, refusals)) for server in self._url.servers
        ]
        try:
            for answer in asyncio.as_completed(queries):
                if found := await answer:
                    return found
        finally:
            for query in queries:
                query.cancel()
            await asyncio.gather(*queries, return_exceptions=True)
        if refusals:
            raise AuthenticationError(
                f"the Sentinels of {self._url.service!r} want another login ({refusals[0]}): "
                "add ?sentinel_password= to the Redis URL"
            )
        raise RedisConnectionError(f"no Sentinel knows a master {self._url.service!r}")

    async def _query(self, server: Server, refusals: list[Exception]) -> Server | None:
        options = self._url.connection_options(server) | {"db": 0}
        refusal: Exception | None = None
        try:
            async with asyncio.timeout(self._timeout):
                for login in self._logins:
                    try:
                        return await self._locate(options | login)
                    except (AuthenticationError, NoPermissionError) as error:
                        refusal = error
        except FAILURES:
            return None
        if refusal is not None:
            refusals.append(refusal)
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
        if isinstance(found, AuthenticationError | NoPermissionError):
            raise found
        return (found[0].decode(), int(found[1])) if isinstance(found, list) else None
