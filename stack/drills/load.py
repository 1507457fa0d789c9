"""Asks a service for paths at a steady rate, however slow its answers are."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import httpx

from stack.drills.fault import Load


class Asking:
    """The load of one drill.

    Args:
        load: What to ask for.
        base: Whom.
    """

    def __init__(self, load: Load, base: str) -> None:
        self._load = load
        self._base = base
        self._paths: Iterator[str] = iter(())
        self.calm()

    def calm(self) -> None:
        """Ask for what is asked before and after the fault."""
        self._paths = (self._load.around or self._load.during)()

    def break_(self) -> None:
        """Ask for what is asked while the fault lasts."""
        self._paths = self._load.during()

    async def keep_asking(self) -> None:
        """Ask until cancelled."""
        asked: set[asyncio.Task[None]] = set()
        async with httpx.AsyncClient(base_url=self._base, timeout=5, trust_env=False) as client:
            try:
                while True:
                    task = asyncio.create_task(_ask(client, next(self._paths)))
                    asked.add(task)
                    task.add_done_callback(asked.discard)
                    await asyncio.sleep(1 / self._load.rate)
            finally:
                for task in asked:
                    task.cancel()


async def _ask(client: httpx.AsyncClient, path: str) -> None:
    with suppress(httpx.HTTPError):  # to fail is what a drill is for
        await client.get(path)
