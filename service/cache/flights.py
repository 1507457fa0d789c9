"""Single flight: callers that want the same thing at the same time share one task."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Iterable
from typing import Any, Generic, TypeVar

R = TypeVar("R")


class Flights(Generic[R]):
    """The tasks under way, by key.

    A task belongs to nobody: a caller that is cancelled leaves, and the task lands for the others
    and for the cache.
    """

    def __init__(self) -> None:
        self._open: dict[Hashable, asyncio.Task[R]] = {}
        self._all: set[asyncio.Task[R]] = set()

    async def join(
        self, key: Hashable, start: Callable[[], Coroutine[Any, Any, R]]
    ) -> tuple[R, bool]:
        """Wait for the flight of a key; the second value tells whether this call started it."""
        flight = self._open.get(key)
        if started := flight is None:
            flight = asyncio.get_running_loop().create_task(start())
            self._open[key] = flight
            self._all.add(flight)
            flight.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(flight), started

    def _landed(self, key: Hashable, flight: asyncio.Task[R]) -> None:
        self._all.discard(flight)
        if self._open.get(key) is flight:
            del self._open[key]
        if not flight.cancelled():
            flight.exception()  # seen, even if every caller has left

    def forget(self, keys: Iterable[Hashable]) -> None:
        """Let no later caller join the flights of these keys; those aboard still land."""
        for key in keys:
            self._open.pop(key, None)

    def forget_all(self) -> None:
        """Let no later caller join any flight under way."""
        self._open.clear()

    async def close(self) -> None:
        """End every flight."""
        flights = tuple(self._all)
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
