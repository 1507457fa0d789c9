"""Notes when a request of FastAPI goes from one phase to the next.

FastAPI offers no hook for this. Three of its functions, which it calls by their names in their
modules, are replaced by functions that note the time and call the original; the router's own
middleware tells when a request enters and leaves the routes. All of it does nothing for requests
that are not measured, and ``undo_functions`` takes it off.

A FastAPI whose functions look different is left as it is: what its phases would be is then
``unattributed``. The functions are the same from 0.115 to 0.165.
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from types import CodeType, ModuleType
from typing import Any

from fastapi import routing
from fastapi.dependencies import utils
from starlette.types import ASGIApp, Receive, Scope, Send

from vitals.asgi.request_context import CURRENT
from vitals.asgi.request_times import (
    DEPENDENCIES,
    ENDPOINT,
    MIDDLEWARE,
    ROUTING,
    SERIALISATION,
    VALIDATION,
    RequestTimes,
)
from vitals.http.observed_request import ObservedRequest

FUNCTION_STACK = "fastapi_function_astack"
"""What FastAPI exits between the endpoint and the response, in the ASGI scope; since 0.121."""
REQUEST_STACK = "async_exit_stack"
"""The argument that is what it exits there before 0.118, and after the response since then."""

Function = Callable[..., Any]


def _begins_dependencies(original: Function) -> Function:
    def solve_dependencies(*args: Any, **options: Any) -> Any:
        request: Any = CURRENT.get()
        if request is not None and (times := request.times) is not None:
            if times.phase == ROUTING:
                if request.received:
                    times.rename(VALIDATION)
                else:  # it has waited for nothing yet: what routers and mounts took
                    times.phase = MIDDLEWARE
            times.enter(DEPENDENCIES)
            scope = options["request"].scope if "request" in options else request.http
            stack = scope.get(FUNCTION_STACK)
            times.cleanups = stack or options.get(REQUEST_STACK)
        return original(*args, **options)

    return solve_dependencies


def _checks_body(original: Function) -> Function:
    async def request_body_to_args(*args: Any, **options: Any) -> Any:
        times = _current_times()
        if times is None:
            return await original(*args, **options)
        times.enter(VALIDATION)
        result = await original(*args, **options)
        if not result[1]:  # else the errors are the response
            times.enter(DEPENDENCIES)
        return result

    return request_body_to_args


def _begins_endpoint(original: Function) -> Function:
    async def run_endpoint_function(*, dependant: Any, values: Any, is_coroutine: bool) -> Any:
        request = CURRENT.get()
        if request is None or (times := request.times) is None:
            return await original(dependant=dependant, values=values, is_coroutine=is_coroutine)
        times.enter(ENDPOINT)
        stack = times.cleanups
        # Private, but only whether it is empty: then there is nothing to clean up.
        if stack is not None and getattr(stack, "_exit_callbacks", True):
            stack.callback(times.enter, DEPENDENCIES)
        answer = await original(dependant=dependant, values=values, is_coroutine=is_coroutine)
        times.enter(SERIALISATION)
        return answer

    return run_endpoint_function


def _current_times() -> RequestTimes | None:
    request = CURRENT.get()
    return None if request is None else request.times


FUNCTIONS: tuple[tuple[ModuleType, str, Callable[[Function], Function]], ...] = (
    (routing, "solve_dependencies", _begins_dependencies),
    (utils, "request_body_to_args", _checks_body),
    (routing, "run_endpoint_function", _begins_endpoint),
)
_PARAMETERS = {
    "solve_dependencies": {"request", "dependant", "body", "async_exit_stack"},
    "request_body_to_args": {"body_fields", "received_body"},
    "run_endpoint_function": {"dependant", "values", "is_coroutine"},
}


_made: dict[str, Function] = {}
"""The replacements by name, while they are on."""


def observe_functions() -> bool:
    """Note the phases of FastAPI's requests; idempotent; whether this version is known."""
    if _made:
        return True
    if not is_known():
        return False
    for module, name, make in FUNCTIONS:
        original = getattr(module, name)
        made = wraps(original)(make(original))
        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(made)
        _made[name] = made
        setattr(module, name, made)
    return True


def undo_functions() -> None:
    """Take the replacements off, but for those that somebody has replaced in turn."""
    for module, name, _ in FUNCTIONS:
        made = _made.pop(name, None)
        if made is not None and getattr(module, name) is made:
            setattr(module, name, inspect.getattr_static(made, "__wrapped__"))


def is_known() -> bool:
    """Whether FastAPI's functions are there, look as expected, and are called by their names."""
    called = {name for part in (routing, utils) for name in _names_called(part)}
    for module, name, _ in FUNCTIONS:
        function = getattr(module, name, None)
        if function is None or name not in called:
            return False
        wrapped = inspect.unwrap(function)
        if not inspect.iscoroutinefunction(wrapped):
            return False
        if not _PARAMETERS[name] <= set(inspect.signature(wrapped).parameters):
            return False
    return True


def _names_called(module: ModuleType) -> Iterator[str]:
    """The global names that the functions of a module use which serve requests."""
    for name in ("get_request_handler", "solve_dependencies"):
        function = inspect.unwrap(vars(module).get(name, len))
        code = getattr(function, "__code__", None)
        pending = [] if code is None else [code]
        while pending:
            each = pending.pop()
            yield from each.co_names
            pending += [held for held in each.co_consts if isinstance(held, CodeType)]


class RouterTimes:
    """The router of an application, with notes of when requests enter and leave it.

    Args:
        app: What the router serves requests by.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        request: Any = CURRENT.get()
        if request is None or (times := request.times) is None:
            return await self.app(scope, receive, send)
        times.enter(ROUTING)

        def send_noted(message: Any) -> Any:
            if message["type"] == "http.response.start":
                if times.phase == ROUTING:
                    name_routing(request, scope)
                times.enter(MIDDLEWARE)
            return send(message)

        try:
            await self.app(scope, receive, send_noted)
        except BaseException:
            name_routing(request, scope)
            times.enter(MIDDLEWARE)
            raise


def name_routing(request: ObservedRequest, scope: Mapping[str, Any]) -> None:
    """Name the time since the router, if it ends and FastAPI's functions have not told of it."""
    times = request.times
    if times is None or times.phase != ROUTING:
        return
    if "route" not in scope:  # nothing matched, or Starlette's own route, or a mount
        times.rename(ENDPOINT if "endpoint" in scope else MIDDLEWARE)
    elif _made:  # it was refused before its dependencies
        times.rename(VALIDATION if request.received else MIDDLEWARE)
