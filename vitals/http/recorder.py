"""Records finished requests in instruments that are cached by what the router matched.

Every request pays for this, so it takes few steps: the duration histogram is updated in place,
without a call (``python -m bench.requests`` measures the saving).
"""

from bisect import bisect_left
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from vitals.asgi.methods import OTHER_METHOD
from vitals.asgi.request_context import OnFinished
from vitals.asgi.request_times import QUEUE
from vitals.asgi.route_template import RouteTemplates
from vitals.http.observed_request import ObservedRequest
from vitals.http.parts.proxy_queue import QUEUE_HEADERS, queue_seconds
from vitals.http.parts.route_seconds import MAX_PENDING, RequestSeconds
from vitals.http.route_instruments import (
    HTTP,
    METHOD_NOT_ALLOWED,
    OTHER_SCHEME,
    RouteInstruments,
    url_scheme,
)
from vitals.http.streams import StreamMeter
from vitals.metrics.meter import Meter
from vitals.objectives import Objectives

MAX_CACHED_INSTRUMENTS = 5_000
"""Most combinations of labels whose instruments are cached; the meter limits the series."""
MAX_PENDING_SIZES = 256
"""Most body sizes that may be pending per instruments object."""

_Key = tuple[str, str, int, str, str]
"""Method, route template, status, error type, scheme."""
_Match = tuple[int, str, int, str, str, str, str]
"""Id of the matched route, method, status, error type, ``root_path`` after and before matching,
scheme."""


class Recorder:
    """Records requests.

    Args:
        meter: Where to record.
        routes: Templates of the application's routes.
        objectives: The service's objectives.
        streams: Where streams are recorded.
        on_finished: Called with each request at its end; may grow later.
    """

    def __init__(
        self,
        meter: Meter,
        routes: RouteTemplates,
        objectives: Objectives,
        streams: StreamMeter,
        *,
        on_finished: Sequence[OnFinished],
    ) -> None:
        self._meter = meter
        self._routes = routes
        self._objectives = objectives
        self._streams = streams
        self._on_finished = on_finished
        self._instruments: dict[_Key, RouteInstruments] = {}
        self._by_match: dict[_Match, RouteInstruments] = {}
        self._pinned: dict[int, Any] = {}
        """Matched routes, kept alive so that no other object can get the same id."""
        self._seconds = RequestSeconds(meter)
        meter.before_scrape(self._flush)
        meter.before_scrape(self._seconds.flush)

    def record(  # noqa: C901, PLR0912, PLR0915  # each call would cost
        self, request: ObservedRequest
    ) -> None:
        """Record a finished request and release it; a failure here is counted and never raised."""
        try:
            ended = request.ended or perf_counter()
            duration = ended - request.started
            http, outer_root = request.http, request.outer_root
            instruments = self._by_match.get(
                (
                    id(RouteTemplates.matched(http)),
                    request.method,
                    request.status,
                    request.error_type,
                    http.get("root_path", ""),
                    outer_root,
                    http.get("scheme", HTTP),
                )
            ) or self._bind(request, outer_root)
            request.route = instruments.route
            if request.streaming:
                opened = self._streams.durations(request.route, request.error_type)
                if opened is not instruments.duration:  # else a long poll, which has no latency
                    opened.observe(duration)
                    duration = request.first_byte - request.started
            if (times := request.times) is not None:
                request.parts = parts = times.finish(ended)
                for name, value in http.get("headers", ()):
                    if name in QUEUE_HEADERS:
                        parts[QUEUE] = queue_seconds(value, request.started)
                        break
                counters = instruments.parts
                if counters is not None:
                    if times.to_first_byte is not None and request.streaming:
                        times.to_first_byte[QUEUE] = parts[QUEUE]
                        parts = times.to_first_byte
                    counters.pending.append(parts)
                    if len(counters.pending) > MAX_PENDING:
                        counters.flush()
            trace = request.trace
            if trace is not None:  # decided first: only what is kept may be an exemplar
                request.sampled = trace.finish(request, duration)
            durations = instruments.duration
            bucket = bisect_left(durations.bounds, duration)
            cells = durations.cells
            cells[bucket] += 1.0
            cells[-1] += duration
            if request.sampled and ended > durations.exemplar_due[bucket]:
                durations.set_exemplar(bucket, duration, request.exemplar)
            if request.sent:
                instruments.sent.append(request.sent)
                if len(instruments.sent) > MAX_PENDING_SIZES:
                    instruments.flush_sizes()
            if request.received:
                instruments.received.append(request.received)
                if len(instruments.received) > MAX_PENDING_SIZES:
                    instruments.flush_sizes()
            if instruments.has_more:
                instruments.record_more(duration)
            if self._on_finished:
                request.duration = duration
                for callback in self._on_finished:
                    callback(request)
        except Exception:  # noqa: BLE001  # a measurement must not fail the request
            self._meter.dropped("http_probe")
        request.release()

    def _bind(self, request: ObservedRequest, outer_root: str) -> RouteInstruments:
        """Find or create the instruments by labels, and cache them by what matched."""
        http = request.http
        request.route = self._routes.of(http, outer_root, request.status)
        method, status, error_type = request.method, request.status, request.error_type
        # A client chooses methods that a route does not accept: no series for each of them.
        method_label = OTHER_METHOD if status == METHOD_NOT_ALLOWED else method
        scheme = url_scheme(http)
        key = (method_label, request.route, status, error_type, scheme)
        instruments = self._instruments.get(key)
        if instruments is None:
            cached = len(self._instruments) < MAX_CACHED_INSTRUMENTS
            instruments = RouteInstruments(
                self._meter,
                self._objectives,
                self._streams,
                request,
                method_label,
                seconds=self._seconds,
                scheme=scheme,
                cached=cached,
            )
            if not cached:
                return instruments
            self._instruments[key] = instruments
        matched, root = RouteTemplates.matched(http), http.get("root_path", "")
        # A scheme that is not known to be one of few is not a key.
        fits = len(self._by_match) < MAX_CACHED_INSTRUMENTS and scheme != OTHER_SCHEME
        if matched is not None and root == outer_root and fits:
            self._pinned[id(matched)] = matched
            match = id(matched), method, status, error_type, root, outer_root, scheme
            self._by_match[match] = instruments
        return instruments

    def _flush(self) -> None:
        for instruments in list(self._instruments.values()):
            instruments.flush()
