"""Notes how long requests wait for locks and semaphores of asyncio.

``asyncio.Lock`` and ``asyncio.Semaphore`` have no hook, so their ``acquire`` is replaced; one that
is free costs a look.
"""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from time import perf_counter
from typing import Any

from vitals.asgi.request_context import CURRENT
from vitals.asgi.request_times import LOCK

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
    async def acquire(self: Any) -> Any:
        request = CURRENT.get() if self.locked() else None
        if request is None or (times := request.times) is None:
            return await original(self)
        asked = perf_counter()
        try:
            return await original(self)
        finally:
            times.wait(LOCK, asked, perf_counter())

    return acquire
