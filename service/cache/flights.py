"""Single flight: callers that want the same thing at the same time share one task."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Generic, TypeVar

R = TypeVar("R")


class Seat(Enum):
    """When a caller boarded a flight."""

    PILOT = auto()
    """The caller started it: everything it did, it did after the call."""
    EARLY = auto()
    """Before its doors closed."""
    LATE = auto()
    """After its doors closed: its last check may lie before the call."""


@dataclass(eq=False)
class Flight(Generic[R]):
    """A task that several callers wait for."""

    task: asyncio.Task[R] | None = None
    closed: bool = False

    def close_doors(self) -> None:
        """Say that the last check is about to begin."""
        self.closed = True


Start = Callable[[Flight[R]], Coroutine[Any, Any, R]]


class Flights(Generic[R]):
    """The flights under way, by key.

    A flight belongs to nobody: a caller that is cancelled leaves, and the task lands for the
    others and for the cache.
    """

    def __init__(self) -> None:
        self._open: dict[Hashable, Flight[R]] = {}
        self._tasks: set[asyncio.Task[R]] = set()

    async def join(self, key: Hashable, start: Start[R]) -> tuple[R, Seat]:
        """Wait for the flight of a key, which is started if there is none."""
        flight = self._open.get(key)
        if flight is None or flight.task is None:
            flight, seat = Flight(), Seat.PILOT
            flight.task = self._take_off(key, flight, start)
        else:
            seat = Seat.LATE if flight.closed else Seat.EARLY
        return await asyncio.shield(flight.task), seat

    def _take_off(self, key: Hashable, flight: Flight[R], start: Start[R]) -> asyncio.Task[R]:
        task = asyncio.get_running_loop().create_task(start(flight))
        self._open[key] = flight
        self._tasks.add(task)

        def landed(task: asyncio.Task[R]) -> None:
            self._tasks.discard(task)
            if self._open.get(key) is flight:
                del self._open[key]
            if not task.cancelled():
                task.exception()  # seen, even if every caller has left

        task.add_done_callback(landed)
        return task

    def forget(self, keys: Iterable[Hashable]) -> None:
        """Let no later caller join the flights of these keys; those aboard still land."""
        for key in keys:
            self._open.pop(key, None)

    def forget_all(self) -> None:
        """Let no later caller join any flight under way."""
        self._open.clear()

    async def close(self) -> None:
        """End every flight."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
