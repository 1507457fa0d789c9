"""Watchdog: the one thread of a process that looks at its event loops and pools of threads.

It sleeps until a loop could be late: for 40 ms while requests are in flight, else for 100 ms or
until one begins. It ends when nothing is left to look at. It never waits for a lock that a loop's
thread holds.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Protocol

from vitals.asgi.activity import Activity
from vitals.profiling.garbage import GarbageClock
from vitals.profiling.loop_watch import Listener, LoopWatch
from vitals.profiling.sampler import Sampler
from vitals.saturation.run_queue import RunQueue

LONGEST_SLEEP = 0.25
_NAME = "vitals loop watch"


class Looks(Protocol):
    """Looks at something again and again."""

    def look(self, own: RunQueue, /) -> float | None:
        """Look now; returns when to look again, by ``perf_counter``, and None for never."""


class Watchdog:
    """Looks at what it is given, in a thread of its own."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything: in a child of a fork, whose parent has the thread."""
        self._lock = threading.Lock()
        self._looked_at: dict[Looks, Callable[[str], None]] = {}
        self._thread: threading.Thread | None = None
        self._alarm = threading.Lock()
        self._alarm.acquire()

    def wake(self) -> None:
        """Look now, rather than when the sleep ends; from any thread, and never waits."""
        with suppress(RuntimeError):  # it wakes already
            self._alarm.release()

    def add(self, what: Looks, on_drop: Callable[[str], None]) -> None:
        """Look at something from now on.

        Args:
            what: What to look at.
            on_drop: Called with the reason if it cannot be.
        """
        with self._lock:
            self._looked_at = {**self._looked_at, what: on_drop}
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=_NAME, daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no thread can be started
                    on_drop("loop_watch")
                    return
                self._thread = thread

    def remove(self, what: Looks) -> None:
        """Look at something no more."""
        with self._lock:
            self._looked_at = {each: drop for each, drop in self._looked_at.items() if each != what}

    def _run(self) -> None:
        own = RunQueue()
        try:
            while self._goes_on():
                now = perf_counter()
                until = now + LONGEST_SLEEP
                for what, on_drop in self._looked_at.items():
                    try:
                        again = what.look(own)
                        if again is None:
                            self.remove(what)
                        else:
                            until = min(until, again)
                    except Exception:  # noqa: BLE001  # whatever a loop or its code is like
                        on_drop("loop_watch")
                        self.remove(what)
                self._alarm.acquire(timeout=max(0.001, until - perf_counter()))
        finally:
            own.close()

    def _goes_on(self) -> bool:
        with self._lock:
            if not self._looked_at:
                self._thread = None
            return self._thread is threading.current_thread()


WATCHDOG, GARBAGE = Watchdog(), GarbageClock()

_WATCHES: dict[asyncio.AbstractEventLoop, LoopWatch] = {}


SAMPLER = Sampler(_WATCHES)


def watch_running_loop(
    threshold: float, listener: Listener, activity: Activity, on_drop: Callable[[str], None]
) -> Callable[[], None]:
    """Watch the running loop, once for all applications on it.

    Args:
        threshold: Seconds for which it may not turn; that of the first application counts.
        listener: Receives its blocks.
        activity: What the application serves.
        on_drop: Called with the reason if it cannot be watched.

    Returns:
        Ends it; to be called on the loop.
    """
    loop = asyncio.get_running_loop()
    watch = _WATCHES.get(loop)
    if watch is None:
        GARBAGE.start()
        for ended in [each for each in _WATCHES if each.is_closed()]:
            del _WATCHES[ended]
        watch = _WATCHES[loop] = LoopWatch(threshold, GARBAGE, WATCHDOG.wake)
        WATCHDOG.add(watch, on_drop)
    watch.listeners.append(listener)
    watch.activities.append(activity)

    def end() -> None:
        if listener in watch.listeners:
            watch.listeners.remove(listener)
            watch.activities.remove(activity)
            activity.on_begin = None
        if not watch.listeners and _WATCHES.get(loop) is watch:
            del _WATCHES[loop]
            watch.close()
            WATCHDOG.remove(watch)
            if not _WATCHES:
                GARBAGE.stop()

    return end


def _reset_after_fork() -> None:
    WATCHDOG.reset()
    SAMPLER.reset()
    GARBAGE.stop()
    _WATCHES.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
