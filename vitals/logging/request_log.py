"""Log events of requests that failed or were slow."""

import logging
from typing import Any

from vitals.asgi.request_context import RequestContext
from vitals.errors import Sighting
from vitals.log_events import EventLog, OnDrop, ignore
from vitals.objectives import Objectives, Slo

LOGGER = "vitals.requests"

_ANSWERED = (
    "%(http.request.method)s %(http.route)s answered %(http.response.status_code)s "
    "after %(duration).3f s"
)


class RequestLog:
    """Logs requests that failed or were slow.

    Args:
        objectives: Latency objectives, whose threshold makes a request slow.
        on_drop: Called with the reason for each event that is lost.
        service_name: ``service.name`` of the events.
    """

    def __init__(
        self, objectives: Objectives, on_drop: OnDrop = ignore, service_name: str = ""
    ) -> None:
        self._objectives = objectives
        self._log = EventLog(LOGGER, on_drop, service_name)

    def __call__(self, request: RequestContext) -> None:
        """Log a finished request, if it failed or was slow."""
        threshold = self._objectives.of(Slo.LATENCY, request.route).within or 0.0
        if request.failed:
            sentence = f"{_ANSWERED} (%(error.type)s)" if request.error_type else _ANSWERED
            self._log.write(logging.ERROR, "request failed", sentence, _fields(request))
        elif request.duration > threshold:
            fields = {"threshold": threshold, **_fields(request)}
            sentence = f"{_ANSWERED}, threshold %(threshold)s s"
            self._log.write(logging.WARNING, "request slow", sentence, fields)

    def write_failed_work(
        self, work: str, seen: Sighting, request: RequestContext | None, route: str
    ) -> None:
        """Log an error of work beside requests, which may be logged nowhere else."""
        fields: dict[str, Any] = {"http.route": route, "error.type": seen.error.type}
        if request is not None:
            fields["trace_id"] = request.trace_id()
        sentence = f"a {work} of %(http.route)s failed (%(error.type)s)"
        self._log.write(logging.ERROR, f"{work} failed", sentence, fields | seen.fields())


def _fields(request: RequestContext) -> dict[str, Any]:
    """Log fields of a request: the route template, never the path; numbers, never content."""
    fields: dict[str, Any] = {
        "trace_id": request.trace_id(),
        "http.request.method": request.method,
        "http.route": request.route,
        "http.response.status_code": request.status,
        "duration": round(request.duration, 6),
        "db.queries": request.queries,
        "db.duration": round(request.db_seconds, 6),
    }
    if request.error_type:
        fields["error.type"] = request.error_type
    if request.failed:
        fields |= request.error_fields
    return fields
