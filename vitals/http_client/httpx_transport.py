"""Measures requests of httpx where its transports send them, so each redirect counts by itself."""

from collections.abc import Awaitable, Callable
from functools import cache
from importlib import import_module
from typing import Any
from weakref import ref

from vitals.http_client.class_patches import MEASURED, RECORDERS, Patch
from vitals.http_client.outgoing_call import OutgoingCall
from vitals.http_client.recorder import HttpClientRecorder
from vitals.watchers import Watchers

Send = Callable[[Any], Any]
"""Sends a request and returns its response, or an awaitable of it."""

_WATCHERS = "vitals_recorders"
"""The attribute of a measured transport that holds where it is recorded."""


def measure(client: Any, recorder: HttpClientRecorder) -> None:
    """Measure the requests of one ``httpx.Client`` or ``AsyncClient``."""
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001  # no other way
        if transport is None:
            continue
        held = vars(transport)
        if _WATCHERS not in held:
            held[_WATCHERS] = Watchers()
            for name, send in (("handle_request", _send), ("handle_async_request", _send_async)):
                if hasattr(transport, name):
                    held[name] = _own(transport, name, send)
        held[_WATCHERS].add(recorder)


def _own(transport: Any, name: str, send: Any) -> Send:
    """A transport's method that measures; it does not hold the transport."""
    kind, held, reference = type(transport), vars(transport).get(name), ref(transport)
    recorders: Watchers[HttpClientRecorder] = vars(transport)[_WATCHERS]

    def handle(request: Any) -> Any:
        # Found anew with each request: a test may have replaced the method of the class.
        inner = held or getattr(kind, name).__get__(reference())
        recorder = recorders.current()
        return inner(request) if recorder is None else send(recorder, inner, request)

    return handle


def _begin(recorder: HttpClientRecorder, request: Any) -> OutgoingCall | None:
    url = request.url
    where = url.scheme, url.host, url.port
    call = recorder.start("httpx", request.method, where, request.headers)
    if call is not None:
        call.propagate(request.headers)
    return call


def _send(recorder: HttpClientRecorder, send: Send, request: Any) -> Any:
    call = _begin(recorder, request)
    if call is None:
        return send(request)
    token = MEASURED.set(True)
    try:
        response = send(request)
    except BaseException as error:
        call.failed(error)
        raise
    finally:
        MEASURED.reset(token)
        call.restore(request.headers)
    return _follow(call, response)


async def _send_async(
    recorder: HttpClientRecorder, send: Callable[[Any], Awaitable[Any]], request: Any
) -> Any:
    call = _begin(recorder, request)
    if call is None:
        return await send(request)
    token = MEASURED.set(True)
    try:
        response = await send(request)
    except BaseException as error:
        call.failed(error)
        raise
    finally:
        MEASURED.reset(token)
        call.restore(request.headers)
    return _follow(call, response)


def _follow(call: OutgoingCall, response: Any) -> Any:
    call.answered(response.status_code, response.headers)
    if hasattr(response, "_content"):  # it has been read, as those of a mock are
        call.finish()
    else:
        _streams().follow(response, call)
    return response


@cache
def _streams() -> Any:
    """What follows bodies; it imports httpx, which is in use now."""
    return import_module("vitals.http_client.httpx_streams")


def _wrap(original: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def handle_request(self: Any, request: Any) -> Any:
        recorder = None if MEASURED.get() else RECORDERS.current()
        if recorder is None:
            return original(self, request)
        return _send(recorder, original.__get__(self), request)

    return handle_request


def _wrap_async(original: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    async def handle_async_request(self: Any, request: Any) -> Any:
        recorder = None if MEASURED.get() else RECORDERS.current()
        if recorder is None:
            return await original(self, request)
        return await _send_async(recorder, original.__get__(self), request)

    return handle_async_request


PATCHES = [
    Patch("httpx", "HTTPTransport", "handle_request", _wrap),
    Patch("httpx", "AsyncHTTPTransport", "handle_async_request", _wrap_async),
]
