"""RED for every request: rate, errors and duration, as pure ASGI.

The probe stands outside of everything else, so what it measures is what the client sees: the time
to the last byte, the status that was really sent, the bytes that were really transferred.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from types import MappingProxyType

from starlette.types import ASGIApp, Receive, Scope, Send

from vitals.asgi.request_context import CURRENT, SERVER_ERROR
from vitals.asgi.route_template import UNMATCHED, RouteTemplates
from vitals.http.observed_request import Exchange, Told, TracedExchange
from vitals.http.recorder import Recorder
from vitals.http.route_instruments import OTHER_METHOD
from vitals.http.websockets import WebSocketProbe
from vitals.metrics.catalogue import (
    HTTP_ACTIVE_REQUESTS,
    HTTP_REQUEST_DURATION,
    SLO_TARGET,
    SLO_THRESHOLD,
    Method,
    Request,
    SloObjective,
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
        objectives: What the service promises.
        aside: Applications that answer exact paths unmeasured, such as the metrics page;
            None leaves the path to the application inside, as for a health check.
        queries: Whether the queries of each request are counted by somebody.
        join_trace: Called when the answer begins, to take over a tracer's trace.
        finished: Told of each request at its end.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        meter: Meter,
        routes: RouteTemplates,
        objectives: Objectives,
        aside: Mapping[str, ASGIApp | None] = MappingProxyType({}),
        queries: bool = False,
        join_trace: Told | None = None,
        finished: Sequence[Told] = (),
    ) -> None:
        self.app = app
        self._aside = {path: answers or app for path, answers in aside.items()}
        self._record = Recorder(
            meter, routes, objectives, queries=queries, finished=finished
        ).record
        self._serve_websocket = WebSocketProbe(app, meter, routes)
        meter.histogram(HTTP_REQUEST_DURATION, extra_bounds=objectives.thresholds(Slo.LATENCY))
        self._hear: Callable[[], Exchange] = (
            Exchange if join_trace is None else partial(TracedExchange, join_trace)
        )
        self._running: set[Exchange] = set()
        self._shown = meter.gauge(HTTP_ACTIVE_REQUESTS)
        meter.before_scrape(self._show_active)
        for name in (*METHODS, OTHER_METHOD):
            # Known beforehand, so that a scanner's random paths and methods add no series.
            meter.histogram(HTTP_REQUEST_DURATION).bind(Request(name, UNMATCHED, "404", ""))
        for objective in objectives:
            promise = SloObjective(objective.slo, objective.route)
            meter.gauge(SLO_TARGET).bind(promise).set(objective.ratio)
            if objective.within is not None:
                meter.gauge(SLO_THRESHOLD).bind(promise).set(objective.within)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            serve = self._serve_websocket if scope["type"] == "websocket" else self.app
            return await serve(scope, receive, send)
        outer_root = scope.get("root_path", "")
        path = scope["path"]
        if outer_root:
            path = path.removeprefix(outer_root)
        if path in self._aside:
            return await self._aside[path](scope, receive, send)
        method = scope["method"]
        if method not in METHODS:
            method = OTHER_METHOD
        request = self._hear()
        request.http = scope
        request.method = method
        request.receive = receive
        request.send = send
        if outer_root:
            request.outer_root = outer_root
        running = self._running
        token = CURRENT.set(request)
        running.add(request)
        started = perf_counter()
        try:
            await self.app(scope, request.hear, request.say)
        except BaseException as error:
            request.conclude(error)
            raise
        else:
            if not request.ended or request.status >= SERVER_ERROR:
                request.conclude(None)
        finally:
            ended = request.ended or perf_counter()
            running.discard(request)
            CURRENT.reset(token)
            self._record(request, outer_root, ended - started, ended)
            request.release()

    def _show_active(self) -> None:
        active = dict.fromkeys((*METHODS, OTHER_METHOD), 0)
        for request in list(self._running):
            active[request.method] += 1
        for method, number in active.items():
            self._shown.bind(Method(method)).set(number)
