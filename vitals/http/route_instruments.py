"""What requests of one kind add to, bound once.

Each request is written into the durations at once: they must be right whenever a worker is killed.
What follows from them, or tells less than it costs, is settled for many requests together: which
of them kept what was promised, and how long their bodies were.
"""

from bisect import bisect_left
from itertools import accumulate

from vitals.asgi.request_context import CLIENT_DISCONNECTED, RequestScope
from vitals.asgi.route_template import UNMATCHED
from vitals.metrics.catalogue import (
    DB_QUERIES_PER_REQUEST,
    HTTP_REQUEST_BODY_SIZE,
    HTTP_REQUEST_DURATION,
    HTTP_RESPONSE_BODY_SIZE,
    SLO_EVENTS,
    Body,
    Request,
    Route,
    SloEvent,
)
from vitals.metrics.meter import Meter
from vitals.objectives import Objectives, Slo

OTHER_METHOD = "_OTHER"
METHOD_NOT_ALLOWED = 405


class Series:
    """Everything that a request of one kind adds to, bound once.

    Args:
        meter: Where to record.
        objectives: What the service promises.
        request: The first of its kind, answered.
        method: The method it is counted under.
        queries: Whether the queries of each request are counted by somebody.
        kept: Whether it stays, to be settled; else it is of one request.

    Attributes:
        route: The route template.
        duration: Where its duration is counted.
        sent: Sizes of bodies that wait to be counted, bytes.
        received: The same of requests.
        more: Whether ``add`` has something to add.
    """

    __slots__ = (
        "_availability",
        "_fast",
        "_kept",
        "_queries",
        "_quick",
        "_received",
        "_sent",
        "_slow",
        "_told",
        "_told_fast",
        "_total",
        "duration",
        "more",
        "received",
        "route",
        "sent",
    )

    def __init__(
        self,
        meter: Meter,
        objectives: Objectives,
        request: RequestScope,
        method: str,
        *,
        queries: bool,
        kept: bool,
    ) -> None:
        route, failed = request.route, request.failed
        durations = meter.histogram(HTTP_REQUEST_DURATION)
        labels = Request(method, route, str(request.status), request.error_type)
        self.route = route
        self.duration = durations.bind(labels)
        matched = route != UNMATCHED and request.status != METHOD_NOT_ALLOWED
        body = Body(method, route)
        self.sent: list[int] = []
        self.received: list[int] = []
        self._received = meter.histogram(HTTP_REQUEST_BODY_SIZE).bind(body) if matched else None
        # The server keeps back what answers HEAD (RFC 9110, 9.3.2).
        self._sent = (
            meter.histogram(HTTP_RESPONSE_BODY_SIZE).bind(body)
            if matched and method != "HEAD"
            else None
        )
        self._queries = (
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
        self._availability = bad if failed else good
        # A failure is one bad event, of availability: a quick failure is not a fast answer.
        timed = promised and not failed
        self._fast = events.bind(SloEvent(Slo.LATENCY, route, "good")) if timed else None
        self._slow = events.bind(SloEvent(Slo.LATENCY, route, "bad")) if timed else None
        within = objectives.of(Slo.LATENCY, route).within or 0.0
        self._quick = bisect_left(self.duration.bounds, within) + 1
        self._told = self._told_fast = self._total = 0.0
        # Beyond the meter's bounds kinds share their durations, which then tell nothing of one.
        self._kept = kept and durations.children.get(labels) is self.duration
        self.more = self._queries is not None or not self._kept

    def add(self, request: RequestScope, duration: float) -> None:
        """Count what only some kinds have."""
        if self._queries is not None:
            self._queries.observe(request.queries)
        if not self._kept:
            self._count(1.0, float(bisect_left(self.duration.bounds, duration) < self._quick))
            self.settle_sizes()

    def settle(self) -> None:
        """Count what waits; by one thread at a time."""
        total = self.duration.cells[-1]
        if total == self._total and not self.sent and not self.received:
            return  # of many kinds few are asked for in a second
        self._total = total
        self.settle_sizes()
        if self._kept and self._availability is not None:
            upto = [0.0, *accumulate(self.duration.cells.tolist()[:-1])]
            answered, fast = upto[-1], upto[self._quick]
            if answered < self._told:  # what was told before a fork was the parent's
                self._told = self._told_fast = 0.0
            self._count(answered - self._told, fast - self._told_fast)
            self._told, self._told_fast = answered, fast

    def settle_sizes(self) -> None:
        """Count the sizes that wait; by any thread, for a list is taken in one step."""
        sent, self.sent = self.sent, []
        received, self.received = self.received, []
        if sent and self._sent is not None:
            self._sent.observe_all(sent)
        if received and self._received is not None:
            self._received.observe_all(received)

    def _count(self, answered: float, fast: float) -> None:
        if self._availability is not None:
            self._availability.inc(answered)
        if self._fast is not None and self._slow is not None:
            self._fast.inc(fast)
            self._slow.inc(answered - fast)
