"""Structured logs: one JSON object a line, with the trace id of the request in hand.

The standard library's loggers are formatted the same way, so a library's warning carries the trace
id too. Requests that failed or broke their objective get a line of their own; bodies, query
strings and headers are never logged.
"""

import logging
import sys
from collections.abc import Callable
from typing import Any, TextIO

import structlog
from structlog.tracebacks import ExceptionDictTransformer

from vitals.asgi.request_context import CURRENT, RequestScope
from vitals.logging.log_handler import Outlet
from vitals.objectives import Objectives, Slo
from vitals.redactor import Redactor

Event = dict[str, Any]
Refuse = Callable[[str], None]

OUTSPOKEN = ("httpx", "httpcore", "uvicorn.access")
"""Loggers that write whole addresses at INFO, query strings and the tokens in them included."""

SERVERS = ("uvicorn", "uvicorn.error", "uvicorn.access")
"""Loggers with handlers of their own, which would write lines that are not JSON."""


ECHOING = "sqlalchemy.engine.Engine"
"""SQLAlchemy gives this logger a handler for an engine with ``echo=True``, unless it has one."""


def configure(
    service_name: str,
    *,
    stream: TextIO | None = None,
    level: int = logging.INFO,
    refuse: Refuse = lambda _reason: None,
    redactor: Redactor | None = None,
) -> None:
    """Send structlog's and the standard library's logs to a stream as JSON lines.

    Args:
        service_name: Written into each line as ``service.name``.
        stream: Where to; standard output when None.
        level: The least severe level that is written.
        refuse: Told the reason for each line that could not be written.
        redactor: Takes secrets out of every line; one that knows the usual ones when None.
    """
    redactor = redactor or Redactor()
    said = {"service.name": service_name}

    def name_service(_logger: Any, _method: str, event: Event) -> Event:
        event.update(said)
        return event

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_service,
        name_trace,
        # Never the local variables: they hold what a request sent, passwords and tokens too.
        structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
    ]
    chain = [*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter]
    structlog.configure(
        processors=chain,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = Outlet(stream or sys.stdout, refuse, said=said, chain=chain, redactor=redactor)
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
    release()
    if taken_over := [held for held in root.handlers if type(held) is logging.StreamHandler]:
        # The host has set up plain lines: ours stand in for them, at the level it chose.
        for held in taken_over:
            root.removeHandler(held)
    else:
        root.setLevel(level)
    root.addHandler(handler)
    for name in OUTSPOKEN:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    for name in SERVERS:
        server = logging.getLogger(name)
        server.handlers, server.propagate = [], True
    _take_echo()
    logging.captureWarnings(True)  # else they go to standard error as they are


def _take_echo() -> None:
    """Have statements that SQLAlchemy echoes pass ours alone, which knows where values stand."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(ECHOING):
            logger = logging.getLogger(name)
            logger.handlers = [h for h in logger.handlers if type(h) is not logging.StreamHandler]
    logging.getLogger(ECHOING).addHandler(logging.NullHandler())


def release() -> None:
    """Write what waits, and leave the root logger as it was before `configure`."""
    root = logging.getLogger()
    logging.captureWarnings(False)
    echoing = logging.getLogger(ECHOING)
    echoing.handlers = [h for h in echoing.handlers if type(h) is not logging.NullHandler]
    for handler in [held for held in root.handlers if isinstance(held, Outlet)]:
        root.removeHandler(handler)
        handler.close()


def name_trace(_logger: Any, _method: str, event: Event) -> Event:
    """Add the trace id of the request in hand (a structlog processor)."""
    request = CURRENT.get()
    if request is not None:
        event.setdefault("trace_id", request.trace_id())
    return event


class RequestLog:
    """Writes a line for each request that failed or was slow.

    Args:
        objectives: Say from when on a request is slow.
    """

    def __init__(self, objectives: Objectives) -> None:
        self._objectives = objectives
        self._log = structlog.stdlib.get_logger("vitals.requests")

    def __call__(self, request: RequestScope) -> None:
        """Look at a finished request."""
        within = self._objectives.of(Slo.LATENCY, request.route).within or 0.0
        if request.failed:
            self._log.error("request failed", **_fields(request))
        elif request.duration > within:
            self._log.warning("request slow", within=within, **_fields(request))


def _fields(request: RequestScope) -> Event:
    """What may be said of a request: the template, never the path; figures, never content."""
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
