"""Notes how long requests wait for locks and semaphores of asyncio.

``asyncio.Lock`` and ``asyncio.Semaphore`` have no hook, so their ``acquire`` is replaced; one that
is free costs a look.
"""

import asyncio
import inspect
import sys
from collections.abc import Callable, Coroutine
from functools import wraps
from time import perf_counter
from typing import Any

from vitals.asgi.request_context import CURRENT
from vitals.asgi.request_times import LOCK, RequestTimes

Acquire = Callable[[Any], Coroutine[Any, Any, Any]]

_LOCKS: tuple[Any, ...] = (asyncio.Lock, asyncio.Semaphore)
_made: dict[Any, Acquire] = {}
"""The replacements by class, while they are on."""


def observe_locks() -> None:
    """Note the waits for locks of measured requests; idempotent."""
    for kind in _LOCKS:
        if kind not in _made:
            _made[kind] = _noting_waits(kind.acquire)
            kind.acquire = _made[kind]


def undo_locks() -> None:
    """Take the replacements off, but for those that somebody has replaced in turn."""
    for kind in _LOCKS:
        made = _made.pop(kind, None)
        if made is not None and kind.acquire is made:
            kind.acquire = inspect.getattr_static(made, "__wrapped__")


def _noting_waits(original: Acquire) -> Acquire:
    @wraps(original)
    def acquire(self: Any) -> Any:
        # `locked()` without its call: libraries take a lock several times a request.
        if not getattr(self, "_locked", True) or not self.locked():
            return original(self)
        request = CURRENT.get()
        if request is None or request.times is None:
            return original(self)
        return _note_wait(request.times, original(self))

    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(acquire)
    return acquire


async def _note_wait(times: RequestTimes, acquired: Coroutine[Any, Any, Any]) -> Any:
    asked = perf_counter()
    try:
        return await acquired
    finally:
        times.wait(LOCK, asked, perf_counter())
