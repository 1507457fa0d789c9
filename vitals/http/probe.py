"""RED for every request: rate, errors and duration, as pure ASGI.

The probe stands outside of everything else, so what it measures is what the client sees: the time
to the last byte, the status that was really sent, the bytes that were really transferred.
"""

from collections.abc import Mapping, Sequence
from time import perf_counter
from types import MappingProxyType

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitals.catalogue import (
    HTTP_ACTIVE_REQUESTS,
    HTTP_REQUEST_DURATION,
    SLO_TARGET,
    SLO_THRESHOLD,
    Method,
    Request,
    SloPromise,
)
from vitals.http.exchange import Exchange
from vitals.http.recorder import Finished, Recorder
from vitals.http.series import OTHER_METHOD
from vitals.http.websockets import WebSocketProbe
from vitals.meter import Meter
from vitals.objectives import Objectives, Slo
from vitals.routes import UNMATCHED, RouteTemplates
from vitals.scope import CURRENT, SERVER_ERROR

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
        join_trace: Finished | None = None,
        finished: Sequence[Finished] = (),
    ) -> None:
        self.app = app
        self._aside = {path: answers or app for path, answers in aside.items()}
        self._join_trace = join_trace
        self._record = Recorder(
            meter, routes, objectives, queries=queries, finished=finished
        ).record
        self._serve_websocket = WebSocketProbe(app, meter, routes)
        meter.histogram(HTTP_REQUEST_DURATION, also=objectives.thresholds(Slo.LATENCY))
        # Plain integers, shown when the page is: they change on the event loop's thread only.
        self._active = dict.fromkeys((*METHODS, OTHER_METHOD), 0)
        self._shown = meter.gauge(HTTP_ACTIVE_REQUESTS)
        meter.before_scrape(self._show_active)
        for name in self._active:
            # Known beforehand, so that a scanner's random paths and methods add no series.
            meter.histogram(HTTP_REQUEST_DURATION).bind(Request(name, UNMATCHED, "404", ""))
        for objective in objectives:
            promise = SloPromise(objective.slo, objective.route)
            meter.gauge(SLO_TARGET).bind(promise).set(objective.ratio)
            if objective.within is not None:
                meter.gauge(SLO_THRESHOLD).bind(promise).set(objective.within)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        kind = scope["type"]
        if kind != "http":
            serve = self._serve_websocket if kind == "websocket" else self.app
            return await serve(scope, receive, send)
        outer_root = scope.get("root_path", "")
        path = scope["path"]
        aside = self._aside.get(path.removeprefix(outer_root) if outer_root else path)
        if aside is not None:
            return await aside(scope, receive, send)
        method = scope["method"]
        if method not in METHODS:
            method = OTHER_METHOD
        request = Exchange(scope, method, receive, send)
        if outer_root:
            request.outer_root = outer_root
        say = request.say if self._join_trace is None else self._joining(request)
        error: BaseException | None = None
        token = CURRENT.set(request)
        self._active[method] += 1
        started = perf_counter()
        try:
            await self.app(scope, request.hear, say)
        except BaseException as caught:
            error = caught
            raise
        finally:
            duration = (request.ended or perf_counter()) - started
            self._active[method] -= 1
            CURRENT.reset(token)
            if error is not None or not request.ended or request.status >= SERVER_ERROR:
                request.conclude(error)
            self._record(request, outer_root, duration)

    def _joining(self, request: Exchange) -> Send:
        """Take over the tracer's trace when the answer begins: its span is the current one then."""

        async def say(message: Message) -> None:
            if message["type"] == "http.response.start" and self._join_trace is not None:
                self._join_trace(request)
            await request.say(message)

        return say

    def _show_active(self) -> None:
        for method, active in self._active.items():
            self._shown.bind(Method(method)).set(active)
