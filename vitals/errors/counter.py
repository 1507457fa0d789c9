"""Counts exceptions by fingerprint, each once, however often it is raised, handled and logged.

A failed request, a failed background task and a log record may all tell of one exception. What
tells of it first counts it, and leaves a mark on the exception. Nothing here raises into a caller.
"""

import logging
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from vitals.asgi.request_context import CURRENT, RequestContext
from vitals.asgi.route_template import UNMATCHED, RouteTemplates
from vitals.errors.fingerprint import Fingerprint, fingerprint
from vitals.errors.own_frames import Place, add_package
from vitals.metrics.catalogue import ERRORS, OTHER, ErrorLabels
from vitals.metrics.meter import Meter

MAX_SERIES = 100
"""Most series of ``vitals_errors_total`` per process; further errors share ``__other__``."""
MAX_SEEN = 2_000
"""Fingerprints that are remembered as seen; of further ones none is the first."""
LOGGED_LEVEL = logging.ERROR
"""The lowest level of a log record whose exception is an error: a warning was dealt with."""
FINGERPRINT, PLACE = "vitals.error.fingerprint", "vitals.error.place"
COUNTED = "vitals.error.counted"
"""Attributes of spans and log records."""
_MARK = "__vitals_error__"

_counters: list["weakref.ref[ErrorCounter]"] = []
"""Those of the applications of this process, in the order of their creation."""
_marks: dict[int, "tuple[weakref.ref[BaseException], _Mark]"] = {}
"""Marks by the ids of the exceptions that live."""


class _Mark(NamedTuple):
    """What is known of an exception that was counted.

    Attributes:
        error: Its fingerprint.
        request: When the request began that it was counted in; 0 outside of one.
    """

    error: Fingerprint
    request: float


class Sighting(NamedTuple):
    """An exception that something tells of.

    Attributes:
        error: Its fingerprint.
        counted: Whether this was the first to tell of it, so that it was counted now.
        is_new: Whether it is the first of its fingerprint in this process.
    """

    error: Fingerprint
    counted: bool
    is_new: bool

    def fields(self) -> dict[str, Any]:
        """The fields of a log record that tells of it; only those that count it have ``COUNTED``.

        What counts occurrences by their records adds up those, and so counts each once.
        """
        fields: dict[str, Any] = {FINGERPRINT: self.error.id}
        if self.error.place:
            fields[PLACE] = self.error.place
        if self.counted:
            fields[COUNTED] = True
        return fields


OnWorkFailed = Callable[[str, Sighting, RequestContext | None, str], None]
"""Called with what failed, its error, the request that started it, and the route."""


class ErrorCounter:
    """Counts the exceptions of one application.

    Args:
        meter: Where to record.
        routes: Templates of the application's routes.

    Attributes:
        on_work_failed: Called with each error of work beside requests that was counted; None
            where no log tells of them.
    """

    def __init__(self, meter: Meter, routes: RouteTemplates) -> None:
        self._meter = meter
        self._routes = routes
        self._errors = meter.counter(ERRORS)
        self._seen: set[str] = set()
        self.on_work_failed: OnWorkFailed | None = None
        _counters[:] = [each for each in _counters if each() is not None]
        _counters.append(weakref.ref(self))

    def count(
        self, error: BaseException, request: RequestContext | None = None, route: str | None = None
    ) -> Sighting | None:
        """Count an exception, unless it was counted; None if that fails.

        Args:
            error: The exception, while it has its traceback.
            request: The request that it happened in.
            route: Its route template; None to find it.
        """
        try:
            return self._count(error, request, route)
        except Exception:  # noqa: BLE001  # a measurement must not fail what failed already
            self._meter.dropped("errors")
            return None

    def count_work(
        self, work: str, error: BaseException, request: RequestContext | None, route: str
    ) -> None:
        """Count an exception of work beside requests, and have a log tell of it.

        Args:
            work: What failed: ``"background task"`` or ``"WebSocket"``.
            error: The exception.
            request: The request that started it, if that is known.
            route: Its route template.
        """
        seen = self.count(error, request, route)
        if seen is not None and seen.counted and self.on_work_failed is not None:
            self.on_work_failed(work, seen, request, route)

    def _count(
        self, error: BaseException, request: RequestContext | None, route: str | None
    ) -> Sighting:
        mark = _mark_of(error)
        began = float(getattr(request, "started", 0.0))
        # Some applications raise one object again in each request.
        if mark is not None and (request is None or mark.request in {0.0, began}):
            if request is not None:
                request.error_fingerprint = request.error_fingerprint or mark.error.id
            return Sighting(mark.error, counted=False, is_new=False)
        found = fingerprint(error, _endpoint_of(request))
        _set_mark(error, _Mark(found, began))
        if route is None:
            route = self._route_of(request)
        labels = ErrorLabels(found.id, found.type, route, found.place)
        if len(self._errors.children) >= MAX_SERIES and labels not in self._errors.children:
            labels = ErrorLabels(OTHER, OTHER, OTHER, OTHER)
        is_new = found.id not in self._seen and len(self._seen) < MAX_SEEN
        if is_new:
            self._seen.add(found.id)
        self._errors.bind(labels).inc()
        if request is not None:
            request.error_fingerprint = found.id
            request.has_new_error = request.has_new_error or is_new
        return Sighting(found, counted=True, is_new=is_new)

    def _route_of(self, request: RequestContext | None) -> str:
        if request is None:
            return UNMATCHED
        if request.route or request.duration:
            return request.route
        return self._routes.of(request.http, request.outer_root, request.status or 500)


def note_logged(level: int, exc_info: Any) -> Sighting | None:
    """Count the exception of a log record, if its level is that of an error.

    Args:
        level: The record's level.
        exc_info: As in a record: the class, the exception and its traceback; or an exception.

    Returns:
        None if the record tells of no error, or no application is instrumented.
    """
    error = exc_info[1:2] and exc_info[1] if type(exc_info) is tuple else exc_info
    if level < LOGGED_LEVEL or not isinstance(error, BaseException):
        return None
    request = CURRENT.get()
    counter = _counter_of(request)
    return None if counter is None else counter.count(error, request)


def fingerprint_of(error: BaseException) -> str:
    """The fingerprint of an exception as it was counted, or would be; empty if that fails."""
    try:
        mark = _mark_of(error)
        return (fingerprint(error) if mark is None else mark.error).id
    except Exception:  # noqa: BLE001  # of the host's class
        return ""


def _counter_of(request: RequestContext | None) -> ErrorCounter | None:
    first = None
    for reference in _counters:
        counter = reference()
        if counter is not None:
            if request is None or request.meter is counter._meter:  # noqa: SLF001  # of this module
                return counter
            first = first or counter
    return first


def _mark_of(error: BaseException) -> _Mark | None:
    found = _marks.get(id(error))
    if found is not None:
        return found[1]
    mark = _attributes_of(error).get(_MARK)
    return None if mark is None else _Mark(Fingerprint(*mark[:3]), mark[3])


def _set_mark(error: BaseException, mark: _Mark) -> None:
    """Mark an exception beside it, because an application may send its attributes to a client.

    There are no weak references to those of built-in classes: they have an attribute.
    """
    key = id(error)
    try:
        _marks[key] = weakref.ref(error, lambda _: _marks.pop(key, None)), mark
    except TypeError:
        _attributes_of(error)[_MARK] = (*mark.error, mark.request)  # no class: it may be pickled


def _attributes_of(error: BaseException) -> dict[str, Any]:
    """An exception's own attributes, past what its class does when they are set."""
    found: dict[str, Any] = BaseException.__getattribute__(error, "__dict__")
    return found


def _endpoint_of(request: RequestContext | None) -> Place | None:
    """The endpoint of a request, whose package is the application's."""
    endpoint = None if request is None else request.http.get("endpoint")
    module = getattr(endpoint, "__module__", None)
    if not isinstance(module, str):
        return None
    add_package(module)
    return Place(module, getattr(endpoint, "__qualname__", type(endpoint).__qualname__))
