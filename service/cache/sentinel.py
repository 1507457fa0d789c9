"""Where the master is, as Sentinels say: asked before each attempt to connect."""

import asyncio
from dataclasses import replace

from hiredis import HiredisError

from service.cache.address import Address
from service.cache.wire import Wire


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
        self._addresses = [replace(address, database=0) for address in addresses]
        self._service = service
        self._timeout = timeout

    async def __call__(self) -> Address:
        """Ask all at once, for one that hangs must not keep the others from answering.

        Raises:
            ConnectionError: None of them knows a master.
        """
        asking = [asyncio.ensure_future(self._ask(address)) for address in self._addresses]
        try:
            for answer in asyncio.as_completed(asking):
                if found := await answer:
                    return self._way_in.at(*found)
        finally:
            for question in asking:
                question.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        raise ConnectionError(f"no Sentinel knows a master {self._service!r}")

    async def _ask(self, address: Address) -> tuple[str, int] | None:
        wire = Wire(self._timeout)
        try:
            async with asyncio.timeout(self._timeout):
                await wire.open(address)
                [master] = await wire.send(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service))
        except (OSError, TimeoutError, HiredisError):
            return None
        finally:
            await wire.close()
        return (master[0].decode(), int(master[1])) if isinstance(master, list) else None
