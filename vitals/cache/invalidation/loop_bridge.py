"""Bridge from SQLAlchemy's hooks, which are synchronous, to the cache's event loop.

A session may be an ``AsyncSession`` (its hooks run in a greenlet that can await), a ``Session`` in
a thread (it waits for the loop), or a ``Session`` where nothing can be awaited: on the loop itself,
or in a process without one.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from sqlalchemy.util import await_only

try:
    from sqlalchemy.util.concurrency import in_greenlet
except ImportError:  # older than SQLAlchemy 2.0.25
    from greenlet import getcurrent
    from sqlalchemy.util._concurrency_py3k import (  # type: ignore[import-not-found]
        _AsyncIoGreenlet,
    )

    def in_greenlet() -> bool:
        """Whether the current greenlet is one of SQLAlchemy's."""
        return isinstance(getcurrent(), _AsyncIoGreenlet)


R = TypeVar("R")

WAIT_SECONDS = 2.0
"""Longest time that a thread waits for the event loop."""


class LoopUnavailableError(Exception):
    """The caller cannot wait for a coroutine."""


class LoopBridge:
    """Runs coroutines on one event loop, for callers that are synchronous."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self) -> None:
        """Use the running event loop from now on."""
        self._loop = asyncio.get_running_loop()

    def wait_for(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine and wait for its result.

        Raises:
            LoopUnavailableError: The caller cannot wait; the coroutine is closed.
        """
        here, loop = _running_loop(), self._loop
        is_remote = loop is not None and loop is not here and loop.is_running()
        if in_greenlet() and not is_remote:
            return await_only(coroutine)
        if loop is None or not is_remote:
            coroutine.close()
            raise LoopUnavailableError
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        if in_greenlet():
            return await_only(asyncio.wrap_future(future))
        try:
            return future.result(WAIT_SECONDS)
        except TimeoutError:
            future.cancel()
            raise LoopUnavailableError from None

    def call(self, function: Callable[[], object]) -> bool:
        """Call a function on the event loop; return False where there is none."""
        if _running_loop() is not None:
            function()
        elif self._loop is not None and self._loop.is_running():
            self._loop.call_soon_threadsafe(function)
        else:
            return False
        return True

    def schedule(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine without waiting; drop it where there is no event loop."""
        loop = _running_loop() or self._loop
        if loop is None or not loop.is_running():
            coroutine.close()
        else:
            asyncio.run_coroutine_threadsafe(coroutine, loop)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
