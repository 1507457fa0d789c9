"""Adds the trace id and the route of the current request to log records.

A record factory around the host's own sets ``trace_id`` and ``http_route`` on each record, so that
``%(trace_id)s`` works in every format; outside of a request both are empty. What the host sets
under these names, by ``extra=`` or by its own factory, is kept.
"""

import logging
import sys
import weakref
from collections.abc import Callable, MutableMapping
from types import FrameType
from typing import Any

from vitals.asgi.request_context import CURRENT, RequestContext
from vitals.asgi.route_template import RouteTemplates
from vitals.errors import note_logged

TRACE_ID, ROUTE = "trace_id", "http_route"

_MAKE_RECORD = logging.Logger.makeRecord.__code__
_MAX_DEPTH = 5
"""Most factories of the host around this one that are looked through."""

Factory = Callable[..., logging.LogRecord]


class LoggedApp:
    """What logs say of one application's requests.

    Args:
        app: The application. It is not kept alive, but must keep this object alive.
        routes: Templates of its routes.
        service_name: ``service.name`` in JSON lines.
    """

    def __init__(self, app: Any, routes: RouteTemplates, service_name: str) -> None:
        self.routes = routes
        self.service_name = service_name
        _APPS[id(app)] = self


_APPS: weakref.WeakValueDictionary[int, LoggedApp] = weakref.WeakValueDictionary()
"""By the id of the application, and of the applications mounted in it."""


def app_of(request: RequestContext) -> LoggedApp | None:
    """The application of a request; None if it has finished, or is not known yet."""
    found: LoggedApp | None = request.logged_app
    if found is None and (app := request.http.get("app")) is not None:
        found = request.logged_app = _APPS.get(id(app)) or _app_around(app)
    return found


def _app_around(mounted: Any) -> LoggedApp | None:
    """The application that a sub-application is mounted in."""
    for app in list(_APPS.values()):
        if app.routes.has_mounted(mounted):
            _APPS[id(mounted)] = app
            return app
    return None


def route_of(request: RequestContext) -> str:
    """The route template of a request; empty before it is matched."""
    route = request.route or request.matched_route
    if route or request.duration:
        return route
    app = app_of(request)
    if app is None:
        return ""
    route = app.routes.of(request.http, request.outer_root)
    if RouteTemplates.matched(request.http) is not None:  # else a mounted application goes on
        request.matched_route = route
    return route


def add_request_context(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Add ``trace_id`` and ``http_route`` of the current request to an event.

    A structlog processor, for the ``processors`` of the host's own ``structlog.configure``.
    """
    request = CURRENT.get()
    if request is not None:
        event.setdefault(TRACE_ID, request.trace_id())
        event.setdefault(ROUTE, route_of(request))
    return event


def install() -> None:
    """Add the record factory around the host's, unless records pass it already."""
    if not _is_effective():
        logging.setLogRecordFactory(_factory_around(logging.getLogRecordFactory()))


def uninstall() -> None:
    """Remove the record factory, if the host has put no other around it."""
    inner = getattr(logging.getLogRecordFactory(), "vitals_inner", None)
    if inner is not None:
        logging.setLogRecordFactory(inner)


def reinstall() -> bool:
    """Add the record factory again, if the host has replaced it; returns whether it had."""
    if _is_effective():
        return False
    install()
    return True


def has_inner() -> bool:
    """Whether the host has a record factory of its own, which adds to each record."""
    factory = logging.getLogRecordFactory()
    return getattr(factory, "vitals_inner", factory) is not logging.LogRecord


def _is_effective() -> bool:
    """Whether records pass the factory, directly or through one of the host's."""
    factory = logging.getLogRecordFactory()
    if factory is logging.LogRecord or hasattr(factory, "vitals_inner"):
        return factory is not logging.LogRecord
    try:
        made = vars(factory("vitals", logging.NOTSET, __file__, 0, "", (), None))
    except Exception:  # noqa: BLE001  # of the host's factory
        return True  # nothing can be added around it
    return TRACE_ID in made and ROUTE in made


def _factory_around(inner: Factory) -> Factory:
    get_request, get_frame = CURRENT.get, sys._getframe  # noqa: SLF001  # as logging itself does

    def make_record(  # noqa: PLR0917  # the signature of a record factory; packed arguments cost
        name: str,
        level: int,
        fn: str,
        lno: int,
        msg: Any,
        args: Any,
        exc_info: Any,
        func: str | None = None,
        sinfo: str | None = None,
        **more: Any,
    ) -> logging.LogRecord:
        record = inner(name, level, fn, lno, msg, args, exc_info, func, sinfo, **more)
        attributes = record.__dict__
        trace_id = route = ""
        try:
            request = get_request()
            if request is not None:
                route = request.route or request.matched_route or route_of(request)
                trace_id = request.trace_id()
        except Exception:  # noqa: BLE001  # a log call of the host must not fail
            trace_id = route = ""
        # ``Logger.makeRecord`` refuses fields of ``extra`` that the record has already.
        frame = get_frame(1)
        is_direct = frame.f_code is _MAKE_RECORD
        given = (frame.f_locals["extra"] if is_direct else _extra_of(frame)) or ()
        if TRACE_ID not in given and TRACE_ID not in attributes:
            attributes[TRACE_ID] = trace_id
        if ROUTE not in given and ROUTE not in attributes:
            attributes[ROUTE] = route
        if exc_info and (seen := note_logged(level, exc_info)) is not None:
            for key, value in seen.fields().items():
                if key not in given:
                    attributes.setdefault(key, value)
        return record

    make_record.vitals_inner = inner  # type: ignore[attr-defined]
    return make_record


def _extra_of(frame: FrameType | None) -> Any:
    """The fields of a log call, where a factory or a logger's class is the host's."""
    for _ in range(_MAX_DEPTH):
        if frame is None or frame.f_code.co_name == _MAKE_RECORD.co_name:
            break
        frame = frame.f_back
    return None if frame is None else frame.f_locals.get("extra")
