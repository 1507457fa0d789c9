"""Notes how long requests wait for a thread of anyio's pool, and for the loop afterwards.

Starlette runs synchronous endpoints, dependencies and files by ``anyio.to_thread.run_sync``, which
has no hook, so the function is replaced in its module. What runs in the thread is not the wait: it
belongs to what called it.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from time import perf_counter
from typing import Any

from anyio import to_thread

from vitals.asgi.request_context import CURRENT
from vitals.asgi.request_times import THREAD

_made: list[Callable[..., Any]] = []
"""The replacement, while it is on."""


def observe_threads() -> None:
    """Note the waits for threads of measured requests; idempotent."""
    if not _made:
        _made.append(_noting_waits(to_thread.run_sync))
        to_thread.run_sync = _made[0]  # type: ignore[assignment]


def undo_threads() -> None:
    """Take the replacement off, unless somebody has replaced it in turn."""
    if _made and to_thread.run_sync is (made := _made.pop()):
        to_thread.run_sync = inspect.getattr_static(made, "__wrapped__")


def _noting_waits(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def run_sync(func: Callable[..., Any], *args: Any, **options: Any) -> Any:
        request = CURRENT.get()
        if request is None or (times := request.times) is None or "cancellable" in options:
            # anyio warns of that option, and names the line that calls it.
            return await original(func, *args, **options)
        asked = perf_counter()
        returned = 0.0

        def run(*args: Any) -> Any:
            nonlocal returned
            times.wait(THREAD, asked, perf_counter())
            try:
                return func(*args)
            finally:
                returned = perf_counter()

        try:
            return await original(run, *args, **options)
        finally:
            # Without a return it was cancelled, while it waited or while its thread ran.
            times.wait(THREAD, returned or asked, perf_counter())

    return run_sync
