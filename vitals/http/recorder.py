"""Counts answered requests: by what matched them, so that labels are put together once a kind."""

from collections.abc import Callable, Sequence
from typing import Any

from vitals.http.exchange import Exchange
from vitals.http.series import Series
from vitals.meter import Meter
from vitals.objectives import Objectives
from vitals.routes import RouteTemplates
from vitals.scope import RequestScope

KINDS = 5_000
"""Kinds of request whose series are kept bound; the meter bounds the series themselves."""

_Key = tuple[str, str, int, str]
"""Method, route template, status, error type."""

Finished = Callable[[RequestScope], None]
"""Told of every request once it has been answered."""


class _Known:
    """Series of one route's answers to its usual method, by status.

    It holds on to what matched, so that no other object can come to have the same id.
    """

    __slots__ = ("by_status", "matched", "method")

    def __init__(self, matched: Any, method: str) -> None:
        self.matched = matched
        self.method = method
        self.by_status: dict[int, Series] = {}


class Recorder:
    """Counts requests.

    Args:
        meter: Where to record.
        routes: Templates of the application's routes.
        objectives: What the service promises.
        queries: Whether the queries of each request are counted by somebody.
        finished: Told of each request at its end.
    """

    def __init__(
        self,
        meter: Meter,
        routes: RouteTemplates,
        objectives: Objectives,
        *,
        queries: bool,
        finished: Sequence[Finished],
    ) -> None:
        self._meter = meter
        self._routes = routes
        self._objectives = objectives
        self._queries = queries
        self._finished = tuple(finished)
        self._series: dict[_Key, Series] = {}
        self._known: dict[int, _Known] = {}

    def record(self, request: Exchange, outer_root: str, duration: float) -> None:
        """Count an answered request; what fails here is counted itself, and fails nobody."""
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

    def _find(self, request: Exchange, outer_root: str) -> Series:
        """The series of a request by its labels; next time, by what matched."""
        http = request.http
        request.route = self._routes.of(http, outer_root)
        key = (request.method, request.route, request.status, request.error_type)
        series = self._series.get(key)
        if series is None:
            series = Series(self._meter, self._objectives, request, queries=self._queries)
            if len(self._series) < KINDS:
                self._series[key] = series
        matched = RouteTemplates.matched(http)
        mounted = http.get("root_path", "") != outer_root
        if matched is not None and not mounted and not request.error_type:
            if len(self._known) < KINDS:
                self._known.setdefault(id(matched), _Known(matched, request.method))
            known = self._known.get(id(matched))
            if known is not None and known.method == request.method:
                known.by_status[request.status] = series
        return series
