"""All that is replaced in frameworks in order to tell the parts of a request's time."""

from typing import Any

from fastapi import FastAPI

from vitals.http.parts.framework import RouterTimes, observe_functions, undo_functions
from vitals.http.parts.locks import observe_locks, undo_locks
from vitals.http.parts.threads import observe_threads, undo_threads


def observe_parts(app: FastAPI) -> None:
    """Note where the requests of an application are; what others serve runs as before."""
    observe_functions()
    observe_threads()
    observe_locks()
    router: Any = app.router
    inner = getattr(router, "middleware_stack", None)
    if inner is not None and not isinstance(inner, RouterTimes):
        router.middleware_stack = RouterTimes(inner)


def undo_parts() -> None:
    """Take off what the process shares; the routers of applications stay as they are."""
    undo_functions()
    undo_threads()
    undo_locks()
