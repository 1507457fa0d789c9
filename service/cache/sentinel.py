"""Where the master is, as Sentinels say: asked before each attempt to connect."""

from typing import Any

from redis.asyncio import Sentinel

from service.cache.address import Address


class Discovery:
    """Finds the master.

    Args:
        addresses: The Sentinels, which are asked without password and TLS; what the addresses
            say of these is for the master.
        service: What they call it.
        timeout: Seconds that each of them may take.
    """

    def __init__(self, addresses: tuple[Address, ...], service: str, timeout: float) -> None:
        self._way_in = addresses[0]
        self._addresses = addresses
        self._service = service
        self._timeout = timeout

    async def __call__(self) -> Address:
        """Ask.

        Raises:
            redis.exceptions.ConnectionError: None of them knows a master.
        """
        options: dict[str, Any] = {
            "socket_timeout": self._timeout,
            "socket_connect_timeout": self._timeout,
        }
        places = [(address.host, address.port) for address in self._addresses]
        sentinel: Any = Sentinel(places, **options)  # type: ignore[no-untyped-call]
        try:
            host, port = await sentinel.discover_master(self._service)
        finally:
            for client in sentinel.sentinels:
                await client.aclose()
        return self._way_in.at(host, port)
