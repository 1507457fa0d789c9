"""ASGI middleware for RED metrics (rate, errors, duration) of every request.

It is the outermost middleware, so it measures what the client sees: the time to the last byte, the
status that was sent and the bytes that were transferred.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from contextvars import Token
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitals.asgi.activity import Activity
from vitals.asgi.methods import METHODS, OTHER_METHOD
from vitals.asgi.own_paths import OwnPaths
from vitals.asgi.request_context import CURRENT, OnFinished, RequestContext
from vitals.asgi.request_times import RequestTimes
from vitals.asgi.root_path import below_root
from vitals.asgi.route_template import UNMATCHED, RouteTemplates
from vitals.errors import ErrorCounter
from vitals.http.background import BackgroundMeter, LinkedSpan, observe_tasks
from vitals.http.observed_request import ObservedRequest
from vitals.http.recorder import Recorder
from vitals.http.route_instruments import url_scheme
from vitals.http.streams import StreamMeter
from vitals.http.websockets import WebSocketProbe
from vitals.metrics.catalogue import (
    HTTP_ACTIVE_REQUESTS,
    HTTP_ACTIVE_STREAMS,
    HTTP_REQUEST_DURATION,
    SLO_TARGET,
    SLO_THRESHOLD,
    MethodLabels,
    RequestLabels,
    SloObjectiveLabels,
)
from vitals.metrics.declarations import NoLabels
from vitals.metrics.meter import Meter
from vitals.objectives import Objectives, Slo

_UNSET = Token.MISSING


class HttpProbe:
    """ASGI middleware that measures requests and WebSockets.

    Args:
        app: The application inside.
        meter: Where to record.
        routes: Templates of the application's routes.
        objectives: The service's objectives.
        paths: Exact paths that are not measured: health checks, and the kit's own pages.
        on_finished: Called with each request at its end; may grow later.
        linked_span: Creates the spans of background tasks; None without tracing.
        long_polls: Route templates of long polls; None for those with the usual names.
        errors: Counts exceptions.
        time_parts: Whether it is measured what the time of a request is spent in.
        activity: Knows what is in flight.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        meter: Meter,
        routes: RouteTemplates,
        objectives: Objectives,
        paths: OwnPaths,
        on_finished: Sequence[OnFinished] = (),
        linked_span: LinkedSpan | None = None,
        long_polls: Sequence[str] | None = None,
        errors: ErrorCounter | None = None,
        time_parts: bool = True,
        activity: Activity | None = None,
    ) -> None:
        self.app = app
        self._time_parts = time_parts
        self._meter = meter
        self._own_pages, self._find_own = paths.pages, paths.find
        self._record = Recorder(
            meter, routes, objectives, StreamMeter(meter, long_polls), on_finished=on_finished
        ).record
        self._activity = Activity() if activity is None else activity
        self._serve_websocket = WebSocketProbe(app, meter, routes, errors, activity=self._activity)
        meter.histogram(HTTP_REQUEST_DURATION, extra_bounds=objectives.thresholds(Slo.LATENCY))
        self._background = BackgroundMeter(meter, routes, linked_span, errors)
        self._new_request: type[ObservedRequest] = type(
            # What the probe's requests share costs none of them anything.
            "ObservedRequest",
            (ObservedRequest,),
            {
                "meter": meter,
                "finish": staticmethod(self._record),
                "work": self._background,
                "errors": errors,
            },
        )
        with suppress(RuntimeError):  # no asyncio
            observe_tasks(asyncio.get_running_loop())
        self._running: set[ObservedRequest] = self._activity.requests
        self._active = meter.gauge(HTTP_ACTIVE_REQUESTS)
        self._streams = meter.gauge(HTTP_ACTIVE_STREAMS).bind(NoLabels())
        meter.before_scrape(self._refresh_active)
        for name in (*METHODS, OTHER_METHOD):
            self._active.bind(MethodLabels(name))
            # Bound in advance, so that a scanner's random paths and methods add no series.
            meter.histogram(HTTP_REQUEST_DURATION).bind(RequestLabels(name, UNMATCHED, "404", ""))
        for objective in objectives:
            labels = SloObjectiveLabels(objective.slo, objective.route)
            meter.gauge(SLO_TARGET).bind(labels).set(objective.ratio)
            if objective.within is not None:
                meter.gauge(SLO_THRESHOLD).bind(labels).set(objective.within)

    async def __call__(  # noqa: C901, PLR0912  # each call would cost
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            return await self._serve_other(scope, receive, send)
        outer_root = scope.get("root_path", "")
        path = scope["path"]
        if outer_root:
            path = below_root(path, outer_root)
        if path in self._own_pages and (own := self._find_own(path, scope, self.app)) is not None:
            return await own(scope, receive, send)
        method = scope["method"]
        if method not in METHODS:
            method = OTHER_METHOD
        request = self._new_request()
        request.http = scope
        request.method = method
        request.server_receive = receive
        request.server_send = send
        if outer_root:
            request.outer_root = outer_root
        running = self._running
        token = CURRENT.set(request)
        if token.old_value is not _UNSET:
            self._disown(token.old_value)
        running.add(request)
        begin = self._activity.on_begin  # read once: another thread may take it back
        if begin is not None:
            begin()
        request.started = started = perf_counter()
        if self._time_parts:
            request.times = RequestTimes(started)
        try:
            await self.app(scope, request.receive, request.send)
        except BaseException as error:
            if not request.duration:
                request.set_outcome(error)
                self._record(request)
            raise
        else:
            if not request.duration:
                request.set_outcome(None)
                self._record(request)
        finally:
            running.discard(request)
            CURRENT.reset(token)
            if request.tasks is not None:
                self._background.follow(request)

    async def _serve_other(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a WebSocket, or the lifespan, which ends when the server has cancelled the rest."""

        async def send_after_requests(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown"):
                self.record_cut()
            await send(message)

        if scope["type"] == "websocket":
            await self._serve_websocket(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self.app(scope, receive, send_after_requests)
        else:
            await self.app(scope, receive, send)

    def record_cut(self) -> None:
        """Record the requests that the server has cancelled.

        uvicorn ends the process with the lifespan, before the tasks that serve them end.
        """
        cut = [request for request in list(self._running) if not request.duration]
        for request in cut:
            if request.ended:
                request.set_outcome(None)
            else:
                request.set_cut()
            self._record(request)
        if cut:
            self._meter.refresh()

    def _disown(self, outer: RequestContext | None) -> None:
        """Serve a request in a task that a server has created while it sent another's response."""
        if isinstance(outer, ObservedRequest) and outer.duration:
            self._background.disown(outer)

    def _refresh_active(self) -> None:
        open_ = [request for request in list(self._running) if not request.ended]
        self._streams.set(sum(request.streaming for request in open_))
        active = Counter(
            MethodLabels(request.method, url_scheme(request.http))
            for request in open_
            if not request.streaming
        )
        for labels in {*self._active.children, *active}:
            self._active.bind(MethodLabels(*labels)).set(active[MethodLabels(*labels)])
