"""What is kept of a log record or a structlog event until its line is written.

The caller pays for a plain tuple, which nothing else can change; redaction and encoding happen in
the writer's thread.
"""

import logging
import re
import sys
from collections.abc import Mapping
from time import time
from typing import Any, NamedTuple

from vitals.asgi.request_context import CURRENT, RequestContext
from vitals.log_events import EVENT, SERVICE_NAME
from vitals.logging.exception_stacks import Stack, capture
from vitals.logging.record_context import ROUTE, TRACE_ID, app_of, route_of
from vitals.redactor import to_plain

Fields = dict[str, Any]

BASE_SIZE = 250
"""About the characters of a line without fields."""

EVENT_FIELDS = frozenset(
    ("event", "level", "logger", "timestamp", "exc_info", "stack_info", "stack")
) | {"_record", "_from_structlog"}
"""Fields of structlog's events that are no further fields of a line."""

_RECORD_ATTRIBUTES = frozenset(
    (*vars(logging.LogRecord("", 0, "", 0, "", (), None)), "message", "asctime", "taskName")
) | {TRACE_ID, ROUTE}
"""Attributes of a record that are not fields of the host; nor are those with an underscore."""

_FEWEST = len({TRACE_ID, ROUTE} | vars(logging.LogRecord("", 0, "", 0, "", (), None)).keys())
"""Attributes of a record that has no fields of the host and was not formatted yet."""

_ACCESS_LOGGER = "uvicorn.access"
_ACCESS_ARGUMENTS = 5
"""Client, method, path with its query, version, status."""
_UNMATCHED = "(unmatched)"

_SCALARS = frozenset((int, float, bool, type(None)))
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Content(NamedTuple):
    """What was logged.

    Attributes:
        event: The message.
        exception: The exception and its causes, or a text that was rendered already.
        stack: A formatted stack.
        is_json: Whether the message is what the host has rendered: if it is a JSON object, its
            members are fields.
    """

    event: str
    exception: list[Stack] | str | None = None
    stack: str | None = None
    is_json: bool = False


class Entry(NamedTuple):
    """What is kept of one record or event.

    Attributes:
        created: Unix time.
        level: Its level's name.
        logger: Its logger's name.
        content: What was logged.
        fields: Further fields, as plain values.
        trace_id: Of the request; empty outside of one.
        route: Its template.
        service_name: Of its application; empty for the process's.
    """

    created: float
    level: str
    logger: str
    content: Content
    fields: Fields
    trace_id: Any
    route: Any
    service_name: str

    @property
    def size(self) -> int:
        """About how many characters its line takes."""
        content = self.content
        size = BASE_SIZE + len(content.event) + len(content.stack or "")
        for key, value in self.fields.items():
            kind = type(value)
            size += len(key) + (len(value) if kind is str else 20 if kind in _SCALARS else 0)
            if kind is list or kind is dict:
                size += len(str(value))
        if isinstance(content.exception, str):
            size += len(content.exception)
        elif content.exception is not None:
            size += sum(stack.size for stack in content.exception)
        return size


class KitEntry(NamedTuple):
    """What is kept of an event of the kit, whose fields hold no secrets.

    Attributes:
        created: Unix time.
        level: Its level.
        logger: Its logger's name.
        event: Its name.
        fields: Its fields.
        bound: What the application has bound to structlog's context variables.
        service_name: Of its application.
    """

    created: float
    level: int
    logger: str
    event: str
    fields: Mapping[str, Any]
    bound: Fields
    service_name: str

    @property
    def size(self) -> int:
        """About how many characters its line takes."""
        size = sum([len(each) for each in self.fields.values() if type(each) is str])
        return BASE_SIZE + size + (len(str(self.bound)) if self.bound else 0)


def entry_of_record(record: logging.LogRecord, text: str | None) -> Entry:
    """What is kept of a record.

    Args:
        record: The record.
        text: What the host's formatter makes of its message; None for the message itself.
    """
    attributes = record.__dict__
    fields = bound_by_structlog()
    # Counted first: most records have no fields.
    if len(attributes) > _FEWEST + ("message" in attributes) + ("asctime" in attributes):
        for key, value in attributes.items():
            if key not in _RECORD_ATTRIBUTES and key[0] != "_":
                fields[key] = _snapshot(value)
    request = CURRENT.get()
    trace_id, route = attributes.get(TRACE_ID, ""), attributes.get(ROUTE, "")
    service_name = ""
    if request is not None:
        trace_id, route = trace_id or request.trace_id(), route or route_of(request)
        service_name = _service_of(request)
    content = _content_of(record, text, fields, request)
    if record.name.startswith("vitals."):
        service_name = str(fields.pop(SERVICE_NAME, service_name))
    return Entry(
        *(record.created, record.levelname.lower(), record.name, content, fields),
        *(trace_id, route, service_name),
    )


def _content_of(
    record: logging.LogRecord, text: str | None, fields: Fields, request: RequestContext | None
) -> Content:
    message: Any = record.msg
    exc_info: Any = record.exc_info
    if type(message) is dict and "_logger" in record.__dict__:  # of structlog
        if text is None:
            return _content_of_event(message, fields)
        exc_info = exc_info or message.get("exc_info")
    if text is not None:
        event = text
    elif EVENT in fields and record.name.startswith("vitals."):
        event = str(fields.pop(EVENT))
    elif record.name == _ACCESS_LOGGER:
        event = _access(record, request)
    else:
        event = record.getMessage()
    rendered = text is not None or not record.args
    exception = _capture(exc_info) or record.exc_text
    return Content(event, exception, record.stack_info, rendered and event.startswith("{"))


def entry_of_event(method: str, event: Any) -> Entry:
    """What is kept of an event of structlog, as its processors leave it.

    Args:
        method: The logger's method, such as ``info``.
        event: The event's fields, or a text that a processor has rendered.
    """
    request = CURRENT.get()
    trace_id = route = service_name = ""
    if request is not None:
        trace_id, route = request.trace_id(), route_of(request)
        service_name = _service_of(request)
    level = {"warn": "warning", "exception": "error", "msg": "info"}.get(method, method)
    logger, fields = "structlog", Fields()
    if isinstance(event, Mapping):
        level = str(event.get("level", level)).lower()
        logger = str(event.get("logger", logger))
        content = _content_of_event(event, fields)
    else:
        text = event.decode(errors="replace") if isinstance(event, bytes) else str(event)
        content = Content(without_colours(text), is_json=True)
    return Entry(time(), level, logger, content, fields, trace_id, route, service_name)


def _content_of_event(event: Mapping[Any, Any], fields: Fields) -> Content:
    """What an event says; adds its other fields."""
    for key, value in event.items():
        if key not in EVENT_FIELDS:
            fields[str(key)] = _snapshot(value)
    exception: Any = _capture(event.get("exc_info"))
    if exception is None and isinstance(fields.get("exception"), str):
        exception = fields.pop("exception")
    stack = event.get("stack_info") or event.get("stack")
    return Content(_text(event.get("event", "")), exception, _text(stack) if stack else None)


def _capture(exc_info: Any) -> list[Stack] | None:
    """Captures what ``exc_info`` of a log call may be: an exception, its tuple, or true."""
    if not exc_info:
        return None
    if isinstance(exc_info, tuple):
        exc_info = exc_info[1] if len(exc_info) > 1 else None
    elif not isinstance(exc_info, BaseException):
        exc_info = sys.exc_info()[1]
    return capture(exc_info) if isinstance(exc_info, BaseException) else None


def _access(record: logging.LogRecord, request: RequestContext | None) -> str:
    """A line of uvicorn's access log with the route template: a path may hold secrets."""
    arguments = record.args
    if not isinstance(arguments, tuple) or len(arguments) != _ACCESS_ARGUMENTS:
        return record.getMessage()
    client, method, path, version, status = arguments
    if request is None:  # a health check, or the metrics
        path = str(path).partition("?")[0]
    else:
        method, path = request.method, route_of(request) or _UNMATCHED
    return f'{client} - "{method} {path} HTTP/{version}" {status}'


def _service_of(request: RequestContext) -> str:
    app = app_of(request)
    return "" if app is None else app.service_name


def bound_by_structlog() -> Fields:
    """What the application has bound to structlog's context variables."""
    contextvars = sys.modules.get("structlog.contextvars")
    if contextvars is None:
        return {}
    return {key: _snapshot(value) for key, value in contextvars.get_contextvars().items()}


def _snapshot(value: Any) -> Any:
    """A value as plain data that no other code can change."""
    kind = type(value)
    if kind is str or kind in _SCALARS:
        return value
    try:
        return to_plain(value)
    except Exception:  # noqa: BLE001  # of the host's class
        return f"<unprintable {kind.__name__}>"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(_snapshot(value))


def without_colours(text: str) -> str:
    """A text without the escape sequences of a terminal's colours."""
    return _COLOUR.sub("", text) if "\x1b" in text else text
