"""Garbage clock: when the garbage collector ran.

A collection holds the interpreter's lock, so that no other thread runs meanwhile.
"""

import gc
from collections import deque
from time import perf_counter
from typing import Any

_MIN_SECONDS = 0.001
_KEPT = 256
"""Collections that are remembered: those of a block are asked for when it ends."""


class GarbageClock:
    """Remembers the long collections of this process; the callbacks of others stay as they are."""

    def __init__(self) -> None:
        self._began = 0.0
        self._found: deque[tuple[float, float]] = deque(maxlen=_KEPT)

    def start(self) -> None:
        """Begin; does nothing if it has begun."""
        if self._observe not in gc.callbacks:
            gc.callbacks.append(self._observe)

    def stop(self) -> None:
        """End; does nothing if it has not begun."""
        if self._observe in gc.callbacks:
            gc.callbacks.remove(self._observe)

    def within(self, start: float, end: float) -> float:
        """Seconds of collections within a time, by ``perf_counter``."""
        return sum(
            max(0.0, min(end, ended) - max(start, began)) for began, ended in self._found.copy()
        )

    def _observe(self, phase: str, _info: dict[str, Any]) -> None:
        now = perf_counter()
        if phase == "start":
            self._began = now
        elif now - self._began >= _MIN_SECONDS:
            self._found.append((self._began, now))
