"""ASGI middleware that begins the trace record of each request and WebSocket.

It stands between the HTTP probe, which ends the record with the response, and everything else.
"""

import sys
from contextlib import suppress
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from vitals.asgi.request_context import CURRENT, RequestContext, error_type_of
from vitals.asgi.route_template import RouteTemplates
from vitals.asgi.trace_record import ACTIVE, SERVER, Bridges, TraceRecord, active, active_span
from vitals.errors import fingerprint_of
from vitals.http.observed_request import is_cancelled_by_server
from vitals.tracing.fastapi_telemetry import FASTAPI_TELEMETRY
from vitals.tracing.tail.api_loading import API, load_bridge
from vitals.tracing.tail.exceptions import exception_event
from vitals.tracing.tail.sampler import TailSampler
from vitals.tracing.tail.server_attributes import connection_facts


class TracedRequests:
    """Begins records, and joins one that another instrumented application around it has begun.

    Args:
        app: The application with the middleware of all probes.
        sampler: Begins records and decides on them.
        routes: Templates of the application's routes.
        has_telemetry: Whether FastAPI has telemetry of its own, which must make no spans.
    """

    def __init__(
        self, app: ASGIApp, sampler: TailSampler, routes: RouteTemplates, *, has_telemetry: bool
    ) -> None:
        self.app = app
        self._sampler = sampler
        self._routes = routes
        self._has_telemetry = has_telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                return await self._serve_websocket(scope, receive, send)
            return await self.app(scope, receive, send)
        request = CURRENT.get()
        if request is None or request.http is not scope:  # a health check, which is not measured
            return await self.app(scope, receive, send)
        if self._has_telemetry:
            if scope.get(FASTAPI_TELEMETRY, True) is None:  # the host excludes it
                return await self.app(scope, receive, send)
            scope[FASTAPI_TELEMETRY] = None
        around = _surrounding()
        if around is not None:
            request.set_trace(f"{around.trace_id:032x}", sampled=around.sampled)
            return await self.app(scope, receive, send)
        sampler = self._sampler
        record = request.trace = sampler.begin(scope["headers"])
        request.sampled = record.sampled
        if Bridges.current is None and API in sys.modules:
            load_bridge()
        if Bridges.current is not None:
            return await self._serve_bridged(record, request, scope, receive, send)
        token = ACTIVE.set((record, record.span_id))
        try:
            await self.app(scope, receive, send)
        finally:
            ACTIVE.reset(token)
            sampler.returned(record, request)

    async def _serve_bridged(
        self,
        record: TraceRecord,
        request: RequestContext,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        with active((record, record.span_id), scope["method"]):
            try:
                await self.app(scope, receive, send)
            finally:
                self._sampler.returned(record, request)

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _surrounding() is not None:
            return await self.app(scope, receive, send)
        if API in sys.modules:
            load_bridge()
        outer_root = scope.get("root_path", "")
        record = self._sampler.begin(scope["headers"])
        error_type = ""
        with active((record, record.span_id), "WEBSOCKET"):
            try:
                await self.app(scope, receive, send)
            except Exception as error:
                error_type = error_type_of(error)
                note_exception(record, error)
                raise
            except BaseException as error:
                error_type = "" if is_cancelled_by_server() else error_type_of(error)
                raise
            finally:
                self._end_websocket(record, scope, outer_root, error_type)

    def _end_websocket(
        self, record: TraceRecord, scope: Scope, outer_root: str, error_type: str
    ) -> None:
        try:
            route = self._routes.of(scope, outer_root)
            attributes: dict[str, Any] = connection_facts(scope)
            if route:
                attributes["http.route"] = attributes["url.path"] = route
            if error_type:
                attributes["error.type"] = error_type
            self._sampler.decide_socket(record, route, attributes, error_type)
        except Exception:  # noqa: BLE001  # tracing must not fail the connection
            self._sampler.dropped("tracing", 1)


def _surrounding() -> TraceRecord | None:
    """The record of a request that another application around this one serves."""
    found = active_span()
    is_request = found is not None and not found[0].ended and found[0].kind == SERVER
    return found[0] if found is not None and is_request else None


def note_exception(record: TraceRecord, error: Exception) -> None:
    """Add the event of an exception that has ended a WebSocket; never raises."""
    with suppress(Exception):  # of the host's class
        record.error_fingerprint = fingerprint_of(error)
        if record.sampler.is_first(record.error_fingerprint):
            record.first_seen = True
        event = exception_event(error, record.error_fingerprint)
        record.events = [*(record.events or ()), event]
