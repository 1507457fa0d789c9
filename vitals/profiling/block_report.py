"""Block report: counts what held the event loop, logs it, and tells the request's span."""

import logging
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any

from vitals.asgi.request_context import RequestContext
from vitals.asgi.route_template import RouteTemplates
from vitals.db.statements.log_throttle import LogThrottle
from vitals.log_events import EventLog
from vitals.metrics.catalogue import EVENT_LOOP_SITES, OTHER, THREAD_POOL_HOLDERS, SiteLabels
from vitals.metrics.declarations import Counter
from vitals.metrics.instruments import CounterChild
from vitals.metrics.meter import Meter
from vitals.own_code import short_path
from vitals.profiling.evidence import Held
from vitals.profiling.loop_watch import OpenBlock
from vitals.profiling.running_request import route_of
from vitals.profiling.stacks import Line

LOGGER = "vitals.event_loop"
SPAN_EVENT = "event_loop_blocked"
MAX_SITES = 50
"""Label sets of each metric; further ones are ``__other__``."""
_LOG_INTERVAL, _LOGS_PER_MINUTE = 60.0, 20


class SiteCounter:
    """Counts seconds by line and route, within a fixed number of label sets.

    Args:
        meter: Where to count.
        metric: What is counted.
    """

    def __init__(self, meter: Meter, metric: Counter[SiteLabels]) -> None:
        self._family = meter.counter(metric)
        self._known: dict[SiteLabels, CounterChild] = {}

    def add(self, site: str, http_route: str, seconds: float) -> None:
        """Count."""
        labels = SiteLabels(site, http_route)
        child = self._known.get(labels)
        if child is None:
            if len(self._known) < MAX_SITES:
                child = self._known[labels] = self._family.bind(labels)
            else:
                child = self._family.bind(SiteLabels(OTHER, OTHER))
        child.inc(seconds)


class BlockReport:
    """Reports what held the loop, of one application.

    Args:
        meter: Where to count.
        routes: Templates of the application's routes.
        service_name: ``service.name`` in logs.
        logs: Whether log events are written.
    """

    def __init__(
        self,
        meter: Meter,
        routes: RouteTemplates,
        service_name: str,
        *,
        logs: Callable[[], bool],
    ) -> None:
        self._meter = meter
        self._routes = routes
        self._sites = SiteCounter(meter, EVENT_LOOP_SITES)
        self._holders = SiteCounter(meter, THREAD_POOL_HOLDERS)
        self._logs = logs
        self._log = EventLog(LOGGER, meter.dropped, service_name)
        self._throttle = LogThrottle(_LOG_INTERVAL, _LOGS_PER_MINUTE)

    def proved(self, block: OpenBlock) -> None:
        """Add the event to the span of a request that blocks the loop, and may end with that."""
        request = block.request
        if request.meter is not self._meter or request.duration:
            return
        try:
            if request.trace is not None:
                request.trace.add_event(SPAN_EVENT, partial(_attributes_of, block))
            else:  # whose events do not change any more
                request.blocks = [*(request.blocks or ()), block]
        except Exception:  # noqa: BLE001  # a request must not fail, nor the looking thread
            self._meter.dropped("block_report")

    def finished(self, request: RequestContext) -> None:
        """Tell the span of a request that ends; on the loop."""
        if request.blocks is not None:
            for block in request.blocks:
                _tell(block)

    def blocked(self, held: list[Held], seconds: float, block: OpenBlock | None) -> None:
        """Report a block that is over; in the watching thread.

        Args:
            held: What held the loop, the longest first.
            seconds: For how long it did not turn.
            block: The same, where a request caused it.
        """
        try:
            if block is not None and block.request.meter is self._meter:
                _tell(block)
            for each in held:
                if each.request is None or each.request.meter is self._meter:
                    self._count(each, seconds)
        except Exception:  # noqa: BLE001  # of the host's OpenTelemetry, or its routes
            self._meter.dropped("block_report")

    def held_thread(self, line: Line, request: RequestContext | None, seconds: float) -> None:
        """Count a thread of the pool that was held while tasks waited for one."""
        if request is None or request.meter is self._meter:
            self._holders.add(line.site, self.route_of(request), seconds)

    def route_of(self, request: RequestContext | None) -> str:
        """The route template of a request; empty if there is none, or it is not known yet."""
        return route_of(request, self._routes)

    def exhausted(self, line: Line, http_route: str, threads: int, waiting: int) -> None:
        """Log that no thread of the pool is free.

        Args:
            line: The line that holds most of them.
            http_route: The route that it serves; empty for none.
            threads: How many it holds.
            waiting: Tasks that wait.
        """
        fields = _fields(line, http_route) | {"threads": threads, "waiting": waiting}
        sentence = (
            "%(waiting)s tasks wait for a thread of anyio's pool; %(threads)s are held by "
            "%(code.file.path)s:%(code.line.number)s in %(code.function.name)s"
        )
        self._write(f"threads {line.site}", "worker threads exhausted", sentence, fields)

    def _count(self, held: Held, seconds: float) -> None:
        http_route = self.route_of(held.request)
        self._sites.add(held.site, http_route, held.seconds)
        if held.line is None:
            fields: dict[str, Any] = {"cause": held.site, "duration": round(held.seconds, 3)}
            sentence = "for %(duration).3f s: %(cause)s"
        else:
            fields = _fields(held.line, http_route) | {"duration": round(held.seconds, 3)}
            sentence = (
                "for %(duration).3f s by %(code.file.path)s:%(code.line.number)s in "
                "%(code.function.name)s"
            )
            if held.callee:
                fields["called"] = held.callee
                sentence += ", which called %(called)s"
            if held.request is not None:
                fields["trace_id"] = _trace_id(held.request, held.context)
                sentence += ", serving %(http.route)s"
        fields["event_loop.blocked"] = round(seconds, 3)
        self._write(held.site, "event loop blocked", sentence, fields)

    def _write(self, key: str, event: str, sentence: str, fields: dict[str, Any]) -> None:
        if self._logs() and (suppressed := self._throttle.allows(key)) is not None:
            if suppressed:
                fields["suppressed"] = suppressed
            self._log.write(logging.WARNING, event, sentence, fields)


def _fields(line: Line, http_route: str) -> dict[str, Any]:
    return {
        "code.file.path": short_path(line.path),
        "code.line.number": line.number,
        "code.function.name": f"{line.module}.{line.function}",
        "http.route": http_route,
    }


def _tell(block: OpenBlock) -> None:
    """Add the event to the span of OpenTelemetry, once."""
    blocks, span = block.request.blocks, block.request.span
    if span is not None and blocks and block in blocks and (attributes := _attributes_of(block)):
        block.request.blocks = [each for each in blocks if each is not block]
        span.add_event(SPAN_EVENT, attributes)


def _attributes_of(block: OpenBlock) -> dict[str, Any]:
    """The attributes of the event: the line that held the loop longest."""
    held = next(iter(block.held()), None)
    if held is None or held.line is None:
        return {"duration": 0.0, "vitals.cause": "its thread waited for a CPU"}
    return {
        "code.file.path": short_path(held.line.path),
        "code.line.number": held.line.number,
        "code.function.name": f"{held.line.module}.{held.line.function}",
        "duration": round(held.seconds, 6),
    } | ({"vitals.called": held.callee} if held.callee else {})


def _trace_id(request: RequestContext, context: Context | None) -> str:
    return request.trace_id() if context is None else context.copy().run(request.trace_id)
