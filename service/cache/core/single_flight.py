"""Single flight: callers that want the same thing at the same time share one task."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
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


class Doors:
    """Of a flight: open until its last check begins."""

    closed = False

    def close(self) -> None:
        """Say that the last check is about to begin."""
        self.closed = True


Start = Callable[[Doors], Coroutine[Any, Any, R]]


class Flights(Generic[R]):
    """The flights under way, by key.

    A flight belongs to nobody: a caller that is cancelled leaves, and the task lands for the
    others and for the cache.
    """

    def __init__(self) -> None:
        self._under_way: dict[Hashable, tuple[asyncio.Task[R], Doors]] = {}

    async def join(self, key: Hashable, start: Start[R]) -> tuple[R, Seat]:
        """Wait for the flight of a key, which is started if there is none."""
        task, doors = self._under_way.get(key, (None, None))
        # Between landing and being struck off, others may run: that flight takes nobody any more.
        if task is not None and doors is not None and not task.done():
            seat = Seat.LATE if doors.closed else Seat.EARLY
        else:
            task, seat = self._take_off(key, start), Seat.PILOT
        return await asyncio.shield(task), seat

    def launch(self, key: Hashable, start: Start[R]) -> None:
        """Start a flight that nobody waits for, unless there is one."""
        if key not in self._under_way:
            self._take_off(key, start)

    def _take_off(self, key: Hashable, start: Start[R]) -> asyncio.Task[R]:
        doors = Doors()
        task = asyncio.get_running_loop().create_task(start(doors))
        self._under_way[key] = task, doors

        def landed(task: asyncio.Task[R]) -> None:
            if self._under_way.get(key) == (task, doors):
                del self._under_way[key]
            if not task.cancelled():
                task.exception()  # seen, even if every caller has left

        task.add_done_callback(landed)
        return task

    async def close(self) -> None:
        """End every flight."""
        tasks = [task for task, _ in self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
