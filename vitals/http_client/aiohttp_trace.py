"""Measures requests of aiohttp by its ``TraceConfig``, so each redirect counts by itself."""

import sys
from asyncio import CancelledError
from collections.abc import Callable
from functools import partial
from time import perf_counter
from types import SimpleNamespace
from typing import Any
from weakref import ref

from vitals.http_client.class_patches import MEASURED, RECORDERS, Patch
from vitals.http_client.outgoing_call import OutgoingCall
from vitals.http_client.recorder import HttpClientRecorder
from vitals.watchers import Watchers

_WATCHERS = "vitals_recorders"
"""The attribute of our ``TraceConfig`` that holds where it records."""

Recorders = Watchers[HttpClientRecorder]


def measure(session: Any, recorder: HttpClientRecorder) -> None:
    """Measure the requests of one ``aiohttp.ClientSession``."""
    ours = [each for each in session.trace_configs if hasattr(each, _WATCHERS)]
    if not ours:
        ours = [_trace_config(Watchers())]
        # A list of its own: the host may have given the same one to several sessions.
        session._trace_configs = [*session.trace_configs, *ours]  # noqa: SLF001
    getattr(ours[0], _WATCHERS).add(recorder)


def _trace_config(recorders: Recorders) -> Any:
    import aiohttp  # noqa: PLC0415  # only where its session is used

    make_hops: Any = partial(_Hops, recorders)
    config: Any = aiohttp.TraceConfig(trace_config_ctx_factory=make_hops)
    setattr(config, _WATCHERS, recorders)

    async def started(_session: Any, hops: _Hops, params: Any) -> None:
        hops.begin(params)

    async def headers_sent(_session: Any, hops: _Hops, params: Any) -> None:
        if hops.call is None:
            hops.begin(params)

    async def redirected(_session: Any, hops: _Hops, params: Any) -> None:
        if hops.call is not None:
            hops.call.restore(params.headers)
        hops.answered(params.response)
        hops.next()

    async def ended(_session: Any, hops: _Hops, params: Any) -> None:
        hops.answered(params.response)

    async def failed(_session: Any, hops: _Hops, params: Any) -> None:
        error = params.exception
        # A redirect that is refused is never sent.
        tried = (aiohttp.ClientConnectionError, TimeoutError, CancelledError)
        if hops.call is None and isinstance(error, tried):
            hops.begin(params)
        if hops.call is not None:
            hops.call.failed(error)

    config.on_request_start.append(started)
    config.on_request_headers_sent.append(headers_sent)
    config.on_request_redirect.append(redirected)
    config.on_request_end.append(ended)
    config.on_request_exception.append(failed)
    config.freeze()
    return config


class _Hops(SimpleNamespace):
    """One call of a session: a request, and those that it is redirected to.

    Attributes:
        call: The request in progress; None between two.
    """

    def __init__(self, recorders: Recorders, trace_request_ctx: Any = None) -> None:
        super().__init__(trace_request_ctx=trace_request_ctx)
        self._recorder = None if MEASURED.get() else recorders.current()
        self._since: float | None = None
        self.call: OutgoingCall | None = None

    def begin(self, params: Any) -> None:
        """Begin to measure a request, and let it carry the trace's context."""
        if self._recorder is None:
            return
        url, headers, since = params.url, params.headers, self._since
        where = url.scheme, url.host, url.port
        self.call = self._recorder.start("aiohttp", params.method, where, headers, since=since)
        if self.call is not None:
            self.call.propagate(headers)

    def next(self) -> None:
        """Wait for the request that a redirect asks for."""
        self.call, self._since = None, perf_counter()

    def answered(self, response: Any) -> None:
        """Follow a response to the end of its body."""
        call = self.call
        if call is None:
            return
        call.answered(response.status, response.headers)
        connection = response.connection
        if connection is None:  # it has been received with its headers
            call.finish()
        else:
            connection.add_callback(partial(_released, call, ref(response)))


def _released(call: OutgoingCall, response: "ref[Any]") -> None:
    """Record a request whose connection is released: its response is complete, or was given up."""
    content = getattr(response(), "content", None)
    error = None
    if content is not None and not content.is_eof():
        error = content.exception()
        # aiohttp sets a plain ClientConnectionError where the host closes a response early. What
        # ended the reading then is the exception that is being handled, if it is one of these.
        if error is None or type(error).__name__ == "ClientConnectionError":
            handled = sys.exception()
            error = handled if isinstance(handled, TimeoutError | CancelledError) else None
    if error is None:
        call.finish()
    else:
        call.failed(error)


def _wrap(original: Callable[..., None]) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **options: Any) -> None:  # noqa: N807  # what it wraps
        configs = options.get("trace_configs") or ()
        original(self, *args, **{**options, "trace_configs": [*configs, _trace_config(RECORDERS)]})

    return __init__


PATCHES = [Patch("aiohttp", "ClientSession", "__init__", _wrap)]
