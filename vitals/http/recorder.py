"""Counts answered requests: by what matched them, so that labels are put together once a kind.

This is paid for by every request, so it is written in few steps: the histogram of durations is
added to in place, without a call (``python -m bench.requests`` tells what that spares).
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from vitals.asgi.route_template import RouteTemplates
from vitals.http.observed_request import Exchange, Told
from vitals.http.route_instruments import METHOD_NOT_ALLOWED, OTHER_METHOD, Series
from vitals.metrics.meter import Meter
from vitals.objectives import Objectives

KINDS = 5_000
"""Kinds of request whose series are kept bound; the meter bounds the series themselves."""
SIZES = 256
"""Bodies of a kind whose sizes may wait to be counted."""

_Key = tuple[str, str, int, str]
"""Method, route template, status, error type."""
_Match = tuple[int, str, int, str, str, str]
"""What matched (its id), method, status, error type, ``root_path`` after and before the match."""


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
        finished: Sequence[Told],
    ) -> None:
        self._meter = meter
        self._routes = routes
        self._objectives = objectives
        self._queries = queries
        self._finished = tuple(finished)
        self._series: dict[_Key, Series] = {}
        self._known: dict[_Match, Series] = {}
        self._held: dict[int, Any] = {}
        """What matched, held on to, so that no other object can come to have the same id."""
        meter.before_scrape(self._settle)

    def record(self, request: Exchange, outer_root: str, duration: float, ended: float) -> None:
        """Count an answered request; what fails here is counted itself, and fails nobody.

        Args:
            request: The request.
            outer_root: ``root_path`` as it was before the application saw the request.
            duration: Seconds it took.
            ended: When it ended, by ``perf_counter``.
        """
        try:
            http = request.http
            series = self._known.get(
                (
                    id(RouteTemplates.matched(http)),
                    request.method,
                    request.status,
                    request.error_type,
                    http.get("root_path", ""),
                    outer_root,
                )
            ) or self._find(request, outer_root)
            durations = series.duration
            bucket = bisect_left(durations.bounds, duration)
            cells = durations.cells
            cells[bucket] += 1.0
            cells[-1] += duration
            if ended > durations.exemplar_due[bucket]:
                durations.set_exemplar(bucket, duration, request.exemplar)
            if request.sent:
                series.sent.append(request.sent)
                if len(series.sent) > SIZES:
                    series.settle_sizes()
            if request.received:
                series.received.append(request.received)
                if len(series.received) > SIZES:
                    series.settle_sizes()
            if series.more:
                series.add(request, duration)
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
        method, status, error_type = request.method, request.status, request.error_type
        # A method that a route does not take is a client's choice, times every route.
        counted = OTHER_METHOD if status == METHOD_NOT_ALLOWED else method
        key = (counted, request.route, status, error_type)
        series = self._series.get(key)
        if series is None:
            kept = len(self._series) < KINDS
            series = Series(
                self._meter, self._objectives, request, counted, queries=self._queries, kept=kept
            )
            if not kept:
                return series
            self._series[key] = series
        matched, root = RouteTemplates.matched(http), http.get("root_path", "")
        if matched is not None and root == outer_root and len(self._known) < KINDS:
            self._held[id(matched)] = matched
            self._known[id(matched), method, status, error_type, root, outer_root] = series
        return series

    def _settle(self) -> None:
        for series in list(self._series.values()):
            series.settle()
