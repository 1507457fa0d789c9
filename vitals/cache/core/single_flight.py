"""Single flight: concurrent callers with the same key share one task."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from enum import Enum, auto
from typing import Any, Generic, TypeVar

R = TypeVar("R")


class FlightRole(Enum):
    """How a caller takes part in a flight."""

    LEADER = auto()
    """It started the task, so everything the task did happened after the call."""
    FOLLOWER = auto()
    """It joined before the final check started."""
    LATE_FOLLOWER = auto()
    """It joined after the final check started, so that check may be older than the call."""


class Flight:
    """State of one shared task."""

    final_check_started = False

    def start_final_check(self) -> None:
        """Record that the task's last freshness check is about to begin."""
        self.final_check_started = True


Run = Callable[[Flight], Coroutine[Any, Any, R]]


class SingleFlight(Generic[R]):
    """Registry of the shared tasks in progress, by key.

    The shared task survives a caller's cancellation: it completes for the other callers and for
    the cache.
    """

    def __init__(self) -> None:
        self._in_progress: dict[Hashable, tuple[asyncio.Task[R], Flight]] = {}

    async def join(self, key: Hashable, run: Run[R]) -> tuple[R, FlightRole]:
        """Wait for the task of a key; start it if there is none."""
        task, flight = self._in_progress.get(key, (None, None))
        # Between a task's end and its done callback other code may run; do not join a task that
        # is done.
        # Nor one of an event loop that has ended.
        loop = asyncio.get_running_loop()
        if task is not None and flight is not None and not task.done() and task.get_loop() is loop:
            role = FlightRole.LATE_FOLLOWER if flight.final_check_started else FlightRole.FOLLOWER
        else:
            task, role = self._start(key, run), FlightRole.LEADER
        return await asyncio.shield(task), role

    def start(self, key: Hashable, run: Run[R]) -> None:
        """Start a background task for a key, unless there is one."""
        if key not in self._in_progress:
            self._start(key, run)

    def _start(self, key: Hashable, run: Run[R]) -> asyncio.Task[R]:
        flight = Flight()
        task = asyncio.get_running_loop().create_task(run(flight))
        self._in_progress[key] = task, flight

        def remove(task: asyncio.Task[R]) -> None:
            if self._in_progress.get(key) == (task, flight):
                del self._in_progress[key]
            if not task.cancelled():
                task.exception()  # retrieve it, even if every caller has been cancelled

        task.add_done_callback(remove)
        return task

    async def close(self) -> None:
        """Cancel every task."""
        loop = asyncio.get_running_loop()
        tasks = [task for task, _ in self._in_progress.values() if task.get_loop() is loop]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
