"""ASGI middleware for RED metrics (rate, errors, duration) of every request.

It is the outermost middleware, so it measures what the client sees: the time to the last byte, the
status that was sent and the bytes that were transferred.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from types import MappingProxyType

from starlette.types import ASGIApp, Receive, Scope, Send

from vitals.asgi.request_context import CURRENT, SERVER_ERROR, OnFinished
from vitals.asgi.route_template import UNMATCHED, RouteTemplates
from vitals.http.observed_request import ObservedRequest, TracedRequest
from vitals.http.recorder import Recorder
from vitals.http.route_instruments import OTHER_METHOD
from vitals.http.websockets import WebSocketProbe
from vitals.metrics.catalogue import (
    HTTP_ACTIVE_REQUESTS,
    HTTP_REQUEST_DURATION,
    SLO_TARGET,
    SLO_THRESHOLD,
    MethodLabels,
    RequestLabels,
    SloObjectiveLabels,
)
from vitals.metrics.meter import Meter
from vitals.objectives import Objectives, Slo

METHODS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY")
)


class HttpProbe:
    """ASGI middleware that measures requests and WebSockets.

    Args:
        app: The application inside.
        meter: Where to record.
        routes: Templates of the application's routes.
        objectives: The service's objectives.
        unmeasured: Exact paths that are not measured, and the applications that serve them, such
            as the metrics endpoint; None means the application inside, as for a health check.
        join_trace: Called when the response starts, to take over a tracer's trace.
        on_finished: Called with each request at its end; may grow later.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        meter: Meter,
        routes: RouteTemplates,
        objectives: Objectives,
        unmeasured: Mapping[str, ASGIApp | None] = MappingProxyType({}),
        join_trace: OnFinished | None = None,
        on_finished: Sequence[OnFinished] = (),
    ) -> None:
        self.app = app
        self._unmeasured = {path: handler or app for path, handler in unmeasured.items()}
        self._record = Recorder(meter, routes, objectives, on_finished=on_finished).record
        self._serve_websocket = WebSocketProbe(app, meter, routes)
        meter.histogram(HTTP_REQUEST_DURATION, extra_bounds=objectives.thresholds(Slo.LATENCY))
        # A class of its own, so that setting the meter costs no request anything.
        kind = ObservedRequest if join_trace is None else TracedRequest
        kind = type(kind.__name__, (kind,), {"meter": meter})
        self._new_request: Callable[[], ObservedRequest] = (
            kind if join_trace is None else partial(kind, join_trace)
        )
        self._running: set[ObservedRequest] = set()
        self._active = meter.gauge(HTTP_ACTIVE_REQUESTS)
        meter.before_scrape(self._refresh_active)
        for name in (*METHODS, OTHER_METHOD):
            # Bound in advance, so that a scanner's random paths and methods add no series.
            meter.histogram(HTTP_REQUEST_DURATION).bind(RequestLabels(name, UNMATCHED, "404", ""))
        for objective in objectives:
            labels = SloObjectiveLabels(objective.slo, objective.route)
            meter.gauge(SLO_TARGET).bind(labels).set(objective.ratio)
            if objective.within is not None:
                meter.gauge(SLO_THRESHOLD).bind(labels).set(objective.within)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            serve = self._serve_websocket if scope["type"] == "websocket" else self.app
            return await serve(scope, receive, send)
        outer_root = scope.get("root_path", "")
        path = scope["path"]
        if outer_root:
            path = path.removeprefix(outer_root)
        if path in self._unmeasured:
            return await self._unmeasured[path](scope, receive, send)
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
        running.add(request)
        started = perf_counter()
        try:
            await self.app(scope, request.receive, request.send)
        except BaseException as error:
            request.set_outcome(error)
            raise
        else:
            if not request.ended or request.status >= SERVER_ERROR:
                request.set_outcome(None)
        finally:
            ended = request.ended or perf_counter()
            running.discard(request)
            CURRENT.reset(token)
            self._record(request, outer_root, ended - started, ended)
            request.release()

    def _refresh_active(self) -> None:
        active = dict.fromkeys((*METHODS, OTHER_METHOD), 0)
        for request in list(self._running):
            active[request.method] += 1
        for method, number in active.items():
            self._active.bind(MethodLabels(method)).set(number)
