"""Seconds of one route's requests by part, counted for many requests together."""

from vitals.asgi.request_times import PARTS, Seconds
from vitals.metrics.catalogue import HTTP_REQUEST_TIME, OTHER, RoutePartLabels
from vitals.metrics.instruments import CounterChild
from vitals.metrics.meter import Meter

MAX_ROUTES = 40
"""Routes with series of their own, first come, first served; the others share ``__other__``."""
MAX_PENDING = 128
"""Most requests of a route that may be pending."""


class RouteSeconds:
    """The counters of one route.

    Args:
        meter: Where to count.
        route: The route template.

    Attributes:
        pending: Seconds by part of requests that are counted later.
    """

    def __init__(self, meter: Meter, route: str) -> None:
        self._meter = meter
        self._route = route
        self.pending: list[Seconds] = []
        self._counters: dict[int, CounterChild] = {}

    def flush(self) -> None:
        """Count pending requests; thread-safe, because the list is swapped atomically."""
        pending, self.pending = self.pending, []
        for part, seconds in enumerate(map(sum, zip(*pending, strict=True))):
            if seconds:
                counter = self._counters.get(part)
                if counter is None:
                    labels = RoutePartLabels(self._route, PARTS[part])
                    counter = self._meter.counter(HTTP_REQUEST_TIME).bind(labels)
                    self._counters[part] = counter
                counter.inc(seconds)


class RequestSeconds:
    """The counters of all routes; bounded.

    Args:
        meter: Where to count.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._routes: dict[str, RouteSeconds] = {}

    def of(self, route: str) -> RouteSeconds:
        """The counters of a route."""
        if route not in self._routes and len(self._routes) >= MAX_ROUTES:
            route = OTHER
        known = self._routes.get(route)
        if known is None:
            known = self._routes[route] = RouteSeconds(self._meter, route)
        return known

    def flush(self) -> None:
        """Count what is pending."""
        for each in list(self._routes.values()):
            each.flush()
