"""Running request: which request the code that runs on an event loop, or in a thread, belongs to.

It is in the context of the task that runs, which any thread may read.
"""

import asyncio
import gc
from contextvars import Context
from types import FrameType
from typing import Any

from vitals.asgi.request_context import CURRENT, RequestContext
from vitals.asgi.route_template import RouteTemplates

_RUN = "WorkerThread.run"
"""The function of anyio in which a thread of its pool runs all it runs."""
_MAX_DEPTH = 400


def running_task(loop: asyncio.AbstractEventLoop) -> "asyncio.Task[Any] | None":
    """The task that runs on a loop now; None between tasks and in other callbacks."""
    return asyncio.current_task(loop)


def context_of(task: "asyncio.Task[Any]") -> Context | None:
    """The context of a task; None if it is not known."""
    get = getattr(task, "get_context", None)  # since Python 3.12
    if get is not None:
        found: Context | None = get()
        return found
    # The context of a task's first callback is referred to as well, after its own.
    return next((each for each in gc.get_referents(task) if type(each) is Context), None)


def context_of_thread(frame: FrameType) -> Context | None:
    """The context that a thread of anyio's pool runs something in.

    Args:
        frame: The thread's innermost frame.
    """
    each: FrameType | None = frame
    for _ in range(_MAX_DEPTH):
        if each is None:
            break
        if each.f_code.co_qualname == _RUN:
            found = each.f_locals
            context = found.get("context")
            if type(found) is dict:  # before Python 3.13 a copy that the frame would keep
                found.clear()
            return context if type(context) is Context else None
        each = each.f_back
    return None


def request_of(context: Context | None) -> RequestContext | None:
    """The request of a context; None if it belongs to none."""
    return None if context is None else context.get(CURRENT)


def route_of(request: RequestContext | None, routes: RouteTemplates) -> str:
    """The route template of a request; empty if there is none, or it is not known yet."""
    if request is None:
        return ""
    try:
        known = request.route or request.matched_route
        return known or routes.of(request.http, request.outer_root) if request.http else known
    except Exception:  # noqa: BLE001  # the application changes its routes meanwhile
        return ""
