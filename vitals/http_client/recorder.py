"""Records the outgoing requests of one application by server, method, status and error."""

import sys
from collections.abc import Callable, Collection, Container
from typing import TYPE_CHECKING

from vitals.asgi.methods import METHODS, OTHER_METHOD
from vitals.asgi.request_context import CURRENT, RequestContext
from vitals.asgi.trace_record import CLIENT, ActiveSpan, OpenSpan, active_span
from vitals.http_client.outgoing_call import AnySpan, OutgoingCall
from vitals.metrics.catalogue import (
    HTTP_CLIENT_ACTIVE_REQUESTS,
    HTTP_CLIENT_REQUEST_DURATION,
    HTTP_CLIENT_REQUESTS_PER_REQUEST,
    OTHER,
    ClientRequestLabels,
    RouteLabels,
    ServerLabels,
)
from vitals.metrics.instruments import GaugeChild, HistogramChild
from vitals.metrics.meter import Meter
from vitals.otel_instrumentors import is_instrumented, is_suppressed, is_within_http_span

if TYPE_CHECKING:
    from vitals.tracing.client_spans import ClientSpans

MAX_SERVERS = 50
"""Servers with series of their own, first come, first served; those that are named always have."""
MAX_CHILDREN = 2_000
MAX_NAME_LENGTH = 253
"""Characters of a host name (RFC 1035, 2.3.4)."""
DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
BENEATH = {"httpx": ("httpx",), "aiohttp": ("aiohttp",), "requests": ("requests", "urllib3")}
"""The libraries whose instrumentation makes spans of what a library sends."""
TRACE = "opentelemetry.trace"
"""Imported by the tracing set-up of the host or of the kit."""
DROPPED = "http_client"
"""Reason of ``vitals_dropped_total`` for a request that could not be recorded."""
UNNAMED = ServerLabels(OTHER, OTHER)
TRACEPARENT = "traceparent"
CARRIED = frozenset((b"tracestate", b"baggage"))
"""Headers that are passed on as they came (w3.org/TR/trace-context, w3.org/TR/baggage)."""

Server = tuple[str | None, str | None, int | None]
"""Scheme, host and port of a URL; None for the scheme's port."""


class HttpClientRecorder:
    """Records outgoing requests; nothing here raises.

    Args:
        meter: Where to record.
    """

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self._spans: ClientSpans | None = None
        self._named: set[str] = set()
        self._durations = meter.histogram(HTTP_CLIENT_REQUEST_DURATION)
        self._servers: dict[Server, ServerLabels] = {}
        self._children: dict[ClientRequestLabels, HistogramChild] = {}
        self._active: dict[ServerLabels, GaugeChild] = {}

    def name(self, servers: Collection[str]) -> None:
        """Give series of their own to hosts of these names, whichever other hosts are called."""
        self._named.update(name.lower() for name in servers)

    def start(
        self,
        library: str,
        method: str,
        where: Server,
        headers: Container[str],
        *,
        since: float | None = None,
    ) -> OutgoingCall | None:
        """Begin to measure a request; None if it is not to be measured.

        Args:
            library: What sends it: ``httpx``, ``aiohttp`` or ``requests``.
            method: Its method.
            where: Where to.
            headers: The request's headers.
            since: When it began, by ``perf_counter``; None for now.
        """
        try:
            if is_suppressed():  # an exporter's own request
                return None
            server = self._servers.get(where) or self._server(where)
            if method not in METHODS:
                method = OTHER_METHOD
            request, exemplar, times = CURRENT.get(), None, None
            if request is not None:
                exemplar, times = request.exemplar, request.times
                if not request.duration:  # else it is finished
                    request.outgoing += 1
            self._active[server].inc()
        except Exception:  # noqa: BLE001  # measuring must not fail the host's request
            self.meter.dropped(DROPPED)
            return None
        call = OutgoingCall(self, method, server, exemplar=exemplar, since=since, times=times)
        active = active_span()
        if active is not None:
            self._record(active, library, headers, call)
        elif TRACE in sys.modules:
            self._trace(library, method, headers, call)
        return call

    def again(self, call: OutgoingCall) -> OutgoingCall:
        """Begin to measure another attempt of a request."""
        request = CURRENT.get()
        if request is not None and not request.duration:
            request.outgoing += 1
        self._active[call.server].inc()
        return OutgoingCall(
            self,
            call.method,
            call.server,
            exemplar=None if request is None else request.exemplar,
            since=None,
            times=None if request is None else request.times,
        )

    def record(
        self,
        server: ServerLabels,
        labels: ClientRequestLabels,
        seconds: float,
        exemplar: Callable[[], str] | None,
    ) -> None:
        """Record a request that has ended."""
        try:
            self._active[server].dec()
            child = self._children.get(labels)
            if child is None:
                child = self._durations.bind(labels)
                if len(self._children) < MAX_CHILDREN:
                    self._children[labels] = child
            child.observe(seconds, exemplar)
        except Exception:  # noqa: BLE001  # the same
            self.meter.dropped(DROPPED)

    def end(self, span: AnySpan, status: int, error_type: str) -> None:
        """End the span of a request."""
        try:
            span.end({"http.response.status_code": status} if status else {}, error_type)
        except Exception:  # noqa: BLE001  # the same
            self.meter.dropped(DROPPED)

    def finished(self, request: RequestContext) -> None:
        """Record how many requests a request has caused."""
        if request.outgoing:
            labels = RouteLabels(request.route)
            self.meter.histogram(HTTP_CLIENT_REQUESTS_PER_REQUEST).bind(labels).observe(
                request.outgoing
            )

    def _trace(
        self, library: str, method: str, headers: Container[str], call: OutgoingCall
    ) -> None:
        """Start a span, unless the host's own instrumentation of the library makes it."""
        try:
            spans = self._spans
            if spans is None:
                from vitals.tracing.client_spans import ClientSpans  # noqa: PLC0415  # now used

                spans = self._spans = ClientSpans()
            if not spans.is_within_trace() or TRACEPARENT in headers or is_within_http_span():
                return
            if is_instrumented(*BENEATH[library]):
                return
            call.span = spans.start(method, _attributes(call), call.propagated)
        except Exception:  # noqa: BLE001  # the same
            self.meter.dropped(DROPPED)

    def _record(
        self, active: ActiveSpan, library: str, headers: Container[str], call: OutgoingCall
    ) -> None:
        """Start a span of a trace record, unless the host makes it."""
        try:
            if (
                TRACEPARENT in headers
                or is_within_http_span()
                or is_instrumented(*BENEATH[library])
            ):
                return
            span = call.span = OpenSpan(active, call.method, CLIENT, _attributes(call))
            call.propagated[TRACEPARENT] = span.record.traceparent(span.id)
            request = CURRENT.get()
            if request is not None:
                for name, value in request.http.get("headers", ()):
                    if name in CARRIED:
                        call.propagated[name.decode()] = value.decode("latin-1")
        except Exception:  # noqa: BLE001  # the same
            self.meter.dropped(DROPPED)

    def _server(self, where: Server) -> ServerLabels:
        """The labels of a server: its own while there are slots left."""
        scheme, host, port = where
        name = (host or "").lower()
        number = port if port is not None else DEFAULT_PORTS.get(scheme or "", "")
        labels = ServerLabels(name, str(number))
        if labels not in self._active:
            fits = len(self._active) < MAX_SERVERS and len(name) <= MAX_NAME_LENGTH
            if not fits and name not in self._named:
                labels = UNNAMED
            if labels not in self._active:
                gauge = self.meter.gauge(HTTP_CLIENT_ACTIVE_REQUESTS)
                self._active[labels] = gauge.bind(labels)
        if labels is not UNNAMED and host == name:
            self._servers[where] = labels
        return labels


def _attributes(call: OutgoingCall) -> dict[str, str | int]:
    address, port = call.server
    attributes: dict[str, str | int] = {
        "http.request.method": call.method,
        "server.address": address,
    }
    if port.isdigit():
        attributes["server.port"] = int(port)
    return attributes
