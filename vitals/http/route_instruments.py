"""Instruments of one combination of method, route, status and error type, bound once.

Each request is added to the duration histogram at once: it must be right whenever a worker is
killed. SLO events, which follow from the durations, and body sizes, which matter less than they
cost, are flushed for many requests together.
"""

from bisect import bisect_left
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from vitals.asgi.request_context import SERVER_SHUTDOWN, RequestContext
from vitals.asgi.route_template import UNMATCHED
from vitals.http.observed_request import CLIENT_CLOSED
from vitals.http.parts.route_seconds import RequestSeconds
from vitals.http.streams import StreamMeter
from vitals.metrics.catalogue import (
    HTTP_REQUEST_BODY_SIZE,
    HTTP_REQUEST_DURATION,
    HTTP_RESPONSE_BODY_SIZE,
    SLO_EVENTS,
    BodyLabels,
    RequestLabels,
    SloEventLabels,
)
from vitals.metrics.meter import Meter
from vitals.objectives import Objectives, Slo

METHOD_NOT_ALLOWED = 405
HTTP, HTTPS, OTHER_SCHEME = "http", "https", "_OTHER"


def url_scheme(http: Mapping[str, Any]) -> str:
    """``url.scheme`` of a request: one of three words, as a proxy may pass on a client's."""
    scheme = http.get("scheme", HTTP)
    return scheme if scheme in {HTTP, HTTPS} else OTHER_SCHEME


class RouteInstruments:
    """The bound instruments of one combination of labels.

    Args:
        meter: Where to record.
        objectives: The service's objectives.
        streams: Knows the long polls.
        request: The first finished request with these labels.
        method: The method it is counted under.
        seconds: The seconds by part of all routes.
        scheme: The scheme it is counted under.
        cached: Whether the object is cached and flushed later; else it serves one request.

    Attributes:
        route: The route template.
        duration: The duration histogram; of a long poll, that of streams.
        parts: The route's seconds by part; None of a long poll, which has no latency.
        sent: Pending sizes of response bodies, in bytes.
        received: Pending sizes of request bodies, in bytes.
        has_more: Whether ``record_more`` has something to record.
    """

    __slots__ = (
        "_availability",
        "_cached",
        "_fast",
        "_fast_buckets",
        "_flushed",
        "_flushed_fast",
        "_received",
        "_sent",
        "_slow",
        "_total",
        "duration",
        "has_more",
        "parts",
        "received",
        "route",
        "sent",
    )

    def __init__(
        self,
        meter: Meter,
        objectives: Objectives,
        streams: StreamMeter,
        request: RequestContext,
        method: str,
        *,
        seconds: RequestSeconds,
        scheme: str,
        cached: bool,
    ) -> None:
        route, failed = request.route, request.failed
        durations = meter.histogram(HTTP_REQUEST_DURATION)
        labels = RequestLabels(method, route, str(request.status), request.error_type, scheme)
        self.route = route
        waits = streams.is_long_poll(route) and (
            not failed or request.error_type == SERVER_SHUTDOWN
        )
        self.duration = (
            streams.durations(route, request.error_type) if waits else durations.bind(labels)
        )
        self.parts = None if waits else seconds.of(route)
        matched = route != UNMATCHED and request.status != METHOD_NOT_ALLOWED
        body = BodyLabels(method, route, scheme)
        self.sent: list[int] = []
        self.received: list[int] = []
        self._received = meter.histogram(HTTP_REQUEST_BODY_SIZE).bind(body) if matched else None
        # The server sends no body in response to HEAD (RFC 9110, 9.3.2).
        self._sent = (
            meter.histogram(HTTP_RESPONSE_BODY_SIZE).bind(body)
            if matched and method != "HEAD"
            else None
        )
        events = meter.counter(SLO_EVENTS)
        # Unmatched requests are no SLO events unless the service failed; nor are requests whose
        # client disconnected before the response, and streams that a deployment has cut.
        counts = (failed and not (waits and request.error_type == SERVER_SHUTDOWN)) or (
            matched
            and not failed
            and request.status != CLIENT_CLOSED
            and request.error_type != SERVER_SHUTDOWN
        )
        # Create both outcomes with the first event: rate() cannot see a series' first increment.
        good = events.bind(SloEventLabels(Slo.AVAILABILITY, route, "good")) if counts else None
        bad = events.bind(SloEventLabels(Slo.AVAILABILITY, route, "bad")) if counts else None
        self._availability = bad if failed else good
        # A failure is a bad availability event only: a fast failure is not a fast response.
        counts_latency = counts and not failed and not waits
        self._fast = (
            events.bind(SloEventLabels(Slo.LATENCY, route, "good")) if counts_latency else None
        )
        self._slow = (
            events.bind(SloEventLabels(Slo.LATENCY, route, "bad")) if counts_latency else None
        )
        threshold = objectives.of(Slo.LATENCY, route).within or 0.0
        self._fast_buckets = bisect_left(self.duration.bounds, threshold) + 1
        self._flushed = self._flushed_fast = self._total = 0.0
        # Beyond the meter's limits label sets share one histogram: no events can be derived.
        self._cached = cached and durations.children.get(labels) is self.duration
        self.has_more = not self._cached

    def record_more(self, duration: float) -> None:
        """Record what no later flush would see."""
        if not self._cached:
            fast = bisect_left(self.duration.bounds, duration) < self._fast_buckets
            self._count_events(1.0, float(fast))
            self.flush_sizes()

    def flush(self) -> None:
        """Count pending events and sizes; one thread at a time."""
        total = self.duration.cells[-1]
        if total == self._total and not self.sent and not self.received:
            return  # most routes are idle in any second
        self._total = total
        self.flush_sizes()
        if self._cached and self._availability is not None:
            upto = [0.0, *accumulate(self.duration.cells.tolist()[:-1])]
            requests, fast = upto[-1], upto[self._fast_buckets]
            if requests < self._flushed:  # the counts before a fork were the parent's
                self._flushed = self._flushed_fast = 0.0
            self._count_events(requests - self._flushed, fast - self._flushed_fast)
            self._flushed, self._flushed_fast = requests, fast

    def flush_sizes(self) -> None:
        """Count pending sizes; thread-safe, because the list is swapped atomically."""
        sent, self.sent = self.sent, []
        received, self.received = self.received, []
        if sent and self._sent is not None:
            self._sent.observe_all(sent)
        if received and self._received is not None:
            self._received.observe_all(received)

    def _count_events(self, requests: float, fast: float) -> None:
        if self._availability is not None:
            self._availability.inc(requests)
        if self._fast is not None and self._slow is not None:
            self._fast.inc(fast)
            self._slow.inc(requests - fast)
