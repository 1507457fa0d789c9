"""Observes the application's exception handlers: which exception becomes a response of 500 or more.

Starlette handles an exception deep inside the middleware, and some middleware sends the response
from another task; so the handler itself is where both are known. Handlers are called for exceptions
only: other requests pay nothing.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp

from vitals.asgi.hooks import layers
from vitals.asgi.request_context import CURRENT, SERVER_ERROR
from vitals.asgi.request_times import ERROR_HANDLER
from vitals.http.observed_request import ObservedRequest
from vitals.http.parts.framework import name_routing

_OBSERVED = "_vitals_observed"
_TABLES = ("_exception_handlers", "_status_handlers")


def observe_handlers(stack: ASGIApp) -> None:
    """Observe the exception handlers of a middleware stack; idempotent.

    A Starlette that keeps them elsewhere is left as it is.
    """
    try:
        from starlette._utils import is_async_callable  # noqa: PLC0415  # private, may move
    except ImportError:
        return
    for layer in layers(stack):
        if not isinstance(layer, ExceptionMiddleware):
            continue
        for table in (getattr(layer, name, None) for name in _TABLES):
            if isinstance(table, dict):
                for key, handler in table.items():
                    if not hasattr(handler, _OBSERVED):
                        table[key] = _observed(handler, is_async=is_async_callable(handler))


def _observed(handler: Callable[..., Any], *, is_async: bool) -> Callable[..., Any]:
    if is_async:

        async def observe_async(connection: Any, error: Exception) -> Any:
            _begin(connection)
            response = await handler(connection, error)
            _note(response, error)
            return response

        observe: Callable[..., Any] = observe_async
    else:

        def observe_sync(connection: Any, error: Exception) -> Any:
            _begin(connection)
            response = handler(connection, error)
            _note(response, error)
            return response

        observe = observe_sync
    observe = wraps(handler)(observe)
    setattr(observe, _OBSERVED, True)
    return observe


def _begin(connection: Any) -> None:
    request = CURRENT.get()
    if isinstance(request, ObservedRequest) and request.times is not None:
        name_routing(request, connection.scope)
        request.times.enter(ERROR_HANDLER)


def _note(response: Any, error: Exception) -> None:
    request = CURRENT.get()
    if isinstance(request, ObservedRequest):
        status = getattr(response, "status_code", 0)
        if isinstance(status, int) and status >= SERVER_ERROR:
            request.fail(error)
