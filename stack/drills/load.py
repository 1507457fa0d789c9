"""Load generator: sends requests at a constant rate, however slow the responses are."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import httpx

from stack.drills.fault import Load


class LoadGenerator:
    """The load of one drill.

    Args:
        load: What to request.
        base: Base URL.
    """

    def __init__(self, load: Load, base: str) -> None:
        self._load = load
        self._base = base
        self._paths: Iterator[str] = iter(())
        self.use_normal_load()

    def use_normal_load(self) -> None:
        """Request the paths for before and after the fault."""
        self._paths = (self._load.normal or self._load.during)()

    def use_fault_load(self) -> None:
        """Request the paths for during the fault."""
        self._paths = self._load.during()

    async def run(self) -> None:
        """Send requests until cancelled."""
        pending: set[asyncio.Task[None]] = set()
        async with httpx.AsyncClient(base_url=self._base, timeout=5, trust_env=False) as client:
            try:
                while True:
                    task = asyncio.create_task(_request(client, next(self._paths)))
                    pending.add(task)
                    task.add_done_callback(pending.discard)
                    await asyncio.sleep(1 / self._load.rate)
            finally:
                for task in pending:
                    task.cancel()


async def _request(client: httpx.AsyncClient, path: str) -> None:
    with suppress(httpx.HTTPError):  # failures are expected in a drill
        await client.get(path)
