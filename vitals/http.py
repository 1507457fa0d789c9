"""RED for every request: rate, errors and duration, as pure ASGI.

The probe stands outside of everything else, so what it measures is what the client sees: the time
to the last byte, the status that was really sent, the bytes that were really transferred.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import perf_counter
from types import MappingProxyType
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitals.catalogue import (
    DB_QUERIES_PER_REQUEST,
    HTTP_ACTIVE_REQUESTS,
    HTTP_ACTIVE_WEBSOCKETS,
    HTTP_REQUEST_BODY_SIZE,
    HTTP_REQUEST_DURATION,
    HTTP_RESPONSE_BODY_SIZE,
    HTTP_WEBSOCKET_DURATION,
    SLO_EVENTS,
    SLO_TARGET,
    SLO_THRESHOLD,
    Body,
    Method,
    Request,
    Route,
    SloEvent,
    SloPromise,
    WebSocket,
)
from vitals.meter import Meter
from vitals.metric import NoLabels
from vitals.objectives import Objectives, Slo
from vitals.routes import UNMATCHED, RouteTemplates
from vitals.scope import CLIENT_DISCONNECTED, CURRENT, SERVER_ERROR, RequestScope

METHODS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY")
)
OTHER_METHOD = "_OTHER"
CLIENT_CLOSED = 499
METHOD_NOT_ALLOWED = 405

_Key = tuple[str, str, int, str]
"""Method, route template, status, error type."""

Finished = Callable[[RequestScope], None]
"""Told of every request once it has been answered."""


class _Series:
    """Everything that a request of one kind adds to, bound once."""

    __slots__ = (
        "availability",
        "duration",
        "fast",
        "queries",
        "received",
        "route",
        "sent",
        "slow",
        "within",
    )

    def __init__(
        self, meter: Meter, objectives: Objectives, request: RequestScope, *, queries: bool
    ) -> None:
        method, route, failed = request.method, request.route, request.failed
        refused = request.status == METHOD_NOT_ALLOWED
        if refused:
            # A method that a route does not take is a client's choice, times every route.
            method = OTHER_METHOD
        self.route = route
        self.duration = meter.histogram(HTTP_REQUEST_DURATION).bind(
            Request(method, route, str(request.status), request.error_type)
        )
        matched = route != UNMATCHED and not refused
        body = Body(method, route)
        self.received = meter.histogram(HTTP_REQUEST_BODY_SIZE).bind(body) if matched else None
        self.sent = meter.histogram(HTTP_RESPONSE_BODY_SIZE).bind(body) if matched else None
        self.queries = (
            meter.histogram(DB_QUERIES_PER_REQUEST).bind(Route(route))
            if matched and queries
            else None
        )
        events = meter.counter(SLO_EVENTS)
        # What no route answered is not something that was promised, unless we broke it; and a
        # client that left tells nothing about the answer it did not wait for.
        promised = failed or (matched and request.error_type != CLIENT_DISCONNECTED)
        # Both outcomes exist from the first event on: a rate cannot see a counter's first step
        # out of nothing.
        good = events.bind(SloEvent(Slo.AVAILABILITY, route, "good")) if promised else None
        bad = events.bind(SloEvent(Slo.AVAILABILITY, route, "bad")) if promised else None
        self.availability = bad if failed else good
        # A failure is one bad event, of availability: a quick failure is not a fast answer.
        timed = promised and not failed
        self.fast = events.bind(SloEvent(Slo.LATENCY, route, "good")) if timed else None
        self.slow = events.bind(SloEvent(Slo.LATENCY, route, "bad")) if timed else None
        self.within = objectives.of(Slo.LATENCY, route).within or 0.0


class _Known:
    """Series of one route's answers to its usual method, by status.

    It holds on to what matched, so that no other object can come to have the same id.
    """

    __slots__ = ("by_status", "matched", "method")

    def __init__(self, matched: Any, method: str) -> None:
        self.matched = matched
        self.method = method
        self.by_status: dict[int, _Series] = {}


class _Exchange(RequestScope):
    """A request and what is said in it, overheard as it passes.

    One object with state instead of closures over variables: it costs half.
    """

    received = 0
    sent = 0
    ended = 0.0
    left = False
    trailers = False

    def __init__(self, http: Scope, method: str, receive: Receive, send: Send) -> None:
        self.http = http
        self.method = method
        self._receive = receive
        self._send = send

    async def hear(self) -> Message:
        """Pass on what the client says."""
        message = await self._receive()
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
        elif message["type"] == "http.disconnect" and not self.ended:
            self.left = True
        return message

    async def say(self, message: Message) -> None:
        """Pass on what the application says."""
        try:
            await self._send(message)
        except OSError:
            self.left = True
            raise
        kind = message["type"]
        if kind == "http.response.body":
            if self.method != "HEAD":  # whose body the server keeps back (RFC 9110, 9.3.2)
                self.sent += len(message.get("body", b""))
            if not message.get("more_body", False) and not self.trailers:
                self.ended = perf_counter()
        elif kind == "http.response.start":
            self.status = message["status"]
            if message.get("trailers", False):
                self.trailers = True
        elif kind == "http.response.pathsend":
            with suppress(OSError):  # the file may be gone by now
                self.sent += os.stat(message["path"]).st_size  # noqa: PTH116
            self.ended = perf_counter()
        elif kind == "http.response.trailers" and not message.get("more_trailers", False):
            self.ended = perf_counter()

    def conclude(self, error: BaseException | None) -> None:
        """Settle the status and the error that the request is counted under."""
        if self.ended and self.status < SERVER_ERROR:
            return  # what failed later is a background task, not the answer
        if self.left:
            # Starlette answers 500 to a client that left in the middle of its own body.
            self.status, self.error_type = CLIENT_CLOSED, CLIENT_DISCONNECTED
        elif self.ended:
            self.error_type = type(error).__qualname__ if error else str(self.status)
        elif error is not None:
            self.status = self.status or SERVER_ERROR
            self.error_type = type(error).__qualname__
        else:
            self.error_type = "incomplete_response" if self.status else "no_response"
            self.status = self.status or SERVER_ERROR


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
        self._meter = meter
        self._routes = routes
        self._objectives = objectives
        self._aside = {path: answers or app for path, answers in aside.items()}
        self._queries = queries
        self._join_trace = join_trace
        self._finished = tuple(finished)
        self._series: dict[_Key, _Series] = {}
        self._known: dict[int, _Known] = {}
        meter.histogram(HTTP_REQUEST_DURATION, also=objectives.thresholds(Slo.LATENCY))
        # Plain integers, shown when the page is: they change on the event loop's thread only.
        self._active = dict.fromkeys((*METHODS, OTHER_METHOD), 0)
        meter.before_scrape(self._show_active)
        for name in self._active:
            # Known beforehand, so that a scanner's random paths and methods add no series.
            meter.histogram(HTTP_REQUEST_DURATION).bind(Request(name, UNMATCHED, "404", ""))
        self._sockets = meter.gauge(HTTP_ACTIVE_WEBSOCKETS).bind(NoLabels())
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
        request = _Exchange(scope, method, receive, send)
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

    def _joining(self, request: _Exchange) -> Send:
        """Take over the tracer's trace when the answer begins: its span is the current one then."""

        async def say(message: Message) -> None:
            if message["type"] == "http.response.start" and self._join_trace is not None:
                self._join_trace(request)
            await request.say(message)

        return say

    def _show_active(self) -> None:
        family = self._meter.gauge(HTTP_ACTIVE_REQUESTS)
        for method, active in self._active.items():
            family.bind(Method(method)).set(active)

    def _record(self, request: _Exchange, outer_root: str, duration: float) -> None:
        try:
            http = request.http
            matched = RouteTemplates.matched(http)
            known = self._known.get(id(matched))
            if (
                known is not None
                and known.method == request.method
                and http.get("root_path", "") == outer_root
                and not request.error_type
            ):
                series = known.by_status.get(request.status) or self._find(request, outer_root)
            else:
                series = self._find(request, outer_root)
            series.duration.observe(duration, request.exemplar)
            if request.received and series.received is not None:
                series.received.observe(request.received)
            if request.sent and series.sent is not None:
                series.sent.observe(request.sent)
            if series.queries is not None:
                series.queries.observe(request.queries)
            if series.availability is not None:
                series.availability.inc()
            if series.fast is not None and series.slow is not None:
                (series.fast if duration <= series.within else series.slow).inc()
            if self._finished:
                request.route, request.duration = series.route, duration
                for tell in self._finished:
                    tell(request)
        except Exception:  # noqa: BLE001  # the answer has been sent; measuring it must not fail it
            self._meter.dropped("http_probe")

    def _find(self, request: _Exchange, outer_root: str) -> _Series:
        """The series of a request by its labels; next time, by what matched."""
        http = request.http
        request.route = self._routes.of(http, outer_root)
        key = (request.method, request.route, request.status, request.error_type)
        series = self._series.get(key)
        if series is None:
            series = _Series(self._meter, self._objectives, request, queries=self._queries)
            if len(self._series) < _KEYS:
                self._series[key] = series
        matched = RouteTemplates.matched(http)
        mounted = http.get("root_path", "") != outer_root
        if matched is not None and not mounted and not request.error_type:
            if len(self._known) < _KEYS:
                self._known.setdefault(id(matched), _Known(matched, request.method))
            known = self._known.get(id(matched))
            if known is not None and known.method == request.method:
                known.by_status[request.status] = series
        return series

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        outer_root = scope.get("root_path", "")
        code = ""

        async def hear() -> Message:
            nonlocal code
            message = await receive()
            if message["type"] == "websocket.disconnect":
                code = code or _close_code(message.get("code", 1005))
            return message

        async def say(message: Message) -> None:
            nonlocal code
            await send(message)
            if message["type"] == "websocket.close":
                code = code or _close_code(message.get("code", 1000))
            elif message["type"] == "websocket.http.response.start":
                code = code or "refused"

        self._sockets.inc()
        started = perf_counter()
        try:
            await self.app(scope, hear, say)
        except BaseException:
            code = code or "1011"
            raise
        finally:
            self._sockets.dec()
            try:
                labels = WebSocket(self._routes.of(scope, outer_root), code or "1006")
                self._meter.histogram(HTTP_WEBSOCKET_DURATION).bind(labels).observe(
                    perf_counter() - started
                )
            except Exception:  # noqa: BLE001  # as above
                self._meter.dropped("http_probe")


_KEYS = 5_000
"""Kinds of request whose series are kept bound; the meter bounds the series themselves."""

_STANDARD_CODES = range(1000, 1016)


def _close_code(code: Any) -> str:
    """A close code as a label: those above 1015 are the client's to choose, so they share one."""
    return str(code) if code in _STANDARD_CODES else "private"
