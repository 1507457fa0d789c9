"""What requests of one kind add to, bound once."""

from vitals.catalogue import (
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
from vitals.meter import Meter
from vitals.objectives import Objectives, Slo
from vitals.routes import UNMATCHED
from vitals.scope import CLIENT_DISCONNECTED, RequestScope

OTHER_METHOD = "_OTHER"
METHOD_NOT_ALLOWED = 405


class Series:
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
