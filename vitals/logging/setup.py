"""Structured logs: one JSON object per line, with the trace id of the current request.

The standard library's loggers use the same format, so a library's warning carries the trace id
too. Requests that failed or missed their objective are logged; bodies, query strings and headers
are never logged here.
"""

import logging
import sys
from collections.abc import Callable
from typing import Any, TextIO

import structlog
from structlog.tracebacks import ExceptionDictTransformer

from vitals.asgi.request_context import CURRENT, RequestContext
from vitals.logging.log_handler import QueueLogHandler
from vitals.objectives import Objectives, Slo
from vitals.redactor import Redactor

Event = dict[str, Any]
OnDrop = Callable[[str], None]

VERBOSE_LOGGERS = ("httpx", "httpcore", "uvicorn.access")
"""Loggers that write full URLs at INFO, including query strings with tokens."""

SERVER_LOGGERS = ("uvicorn", "uvicorn.error", "uvicorn.access")
"""Loggers with handlers of their own, whose lines would not be JSON."""


ECHO_LOGGER = "sqlalchemy.engine.Engine"
"""SQLAlchemy gives this logger a handler for an engine with ``echo=True``, unless it has one."""


def configure(
    service_name: str,
    *,
    stream: TextIO | None = None,
    level: int = logging.INFO,
    on_drop: OnDrop = lambda _reason: None,
    redactor: Redactor | None = None,
) -> None:
    """Send structlog's and the standard library's logs to a stream as JSON lines.

    Args:
        service_name: ``service.name`` of every line.
        stream: The stream; standard output when None.
        level: The least severe level that is written.
        on_drop: Called with the reason for each line that is dropped.
        redactor: Redacts every line; a default one when None.
    """
    redactor = redactor or Redactor()
    static_fields = {"service.name": service_name}

    def add_service_name(_logger: Any, _method: str, event: Event) -> Event:
        event.update(static_fields)
        return event

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service_name,
        add_trace_id,
        # No local variables: they hold request data such as passwords and tokens.
        structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
    ]
    processors = [*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter]
    structlog.configure(
        processors=processors,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = QueueLogHandler(
        stream or sys.stdout,
        on_drop,
        static_fields=static_fields,
        processors=processors,
        redactor=redactor,
    )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                redactor,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    root = logging.getLogger()
    unconfigure()
    if replaced := [held for held in root.handlers if type(held) is logging.StreamHandler]:
        # Replace handlers that the application has configured; keep its level.
        for held in replaced:
            root.removeHandler(held)
    else:
        root.setLevel(level)
    root.addHandler(handler)
    for name in VERBOSE_LOGGERS:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    for name in SERVER_LOGGERS:
        server = logging.getLogger(name)
        server.handlers, server.propagate = [], True
    _take_over_echo_loggers()
    logging.captureWarnings(True)  # otherwise they go to standard error, unformatted


def _take_over_echo_loggers() -> None:
    """Route statements that SQLAlchemy echoes through our handler only, which redacts values."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(ECHO_LOGGER):
            logger = logging.getLogger(name)
            logger.handlers = [h for h in logger.handlers if type(h) is not logging.StreamHandler]
    logging.getLogger(ECHO_LOGGER).addHandler(logging.NullHandler())


def unconfigure() -> None:
    """Flush the queue, and remove what `configure` added to the root logger."""
    root = logging.getLogger()
    logging.captureWarnings(False)
    echo_logger = logging.getLogger(ECHO_LOGGER)
    echo_logger.handlers = [h for h in echo_logger.handlers if type(h) is not logging.NullHandler]
    for handler in [held for held in root.handlers if isinstance(held, QueueLogHandler)]:
        root.removeHandler(handler)
        handler.close()


def add_trace_id(_logger: Any, _method: str, event: Event) -> Event:
    """Add the trace id of the current request (a structlog processor)."""
    request = CURRENT.get()
    if request is not None:
        event.setdefault("trace_id", request.trace_id())
    return event


class RequestLog:
    """Logs requests that failed or were slow.

    Args:
        objectives: Latency objectives, whose threshold makes a request slow.
    """

    def __init__(self, objectives: Objectives) -> None:
        self._objectives = objectives
        self._log = structlog.stdlib.get_logger("vitals.requests")

    def __call__(self, request: RequestContext) -> None:
        """Log a finished request, if it failed or was slow."""
        threshold = self._objectives.of(Slo.LATENCY, request.route).within or 0.0
        if request.failed:
            self._log.error("request failed", **_fields(request))
        elif request.duration > threshold:
            self._log.warning("request slow", threshold=threshold, **_fields(request))


def _fields(request: RequestContext) -> Event:
    """Log fields of a request: the route template, never the path; numbers, never content."""
    fields: Event = {
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
    return fields
