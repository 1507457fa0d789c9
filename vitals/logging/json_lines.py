"""JSON log lines: what is kept of a record or a structlog event, and how it becomes a line.

The caller keeps a plain tuple, which nothing else can change; redaction and encoding happen in the
writer's thread.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from time import time
from typing import Any, NamedTuple

import msgspec

from vitals.asgi.request_context import CURRENT, RequestContext
from vitals.log_events import EVENT
from vitals.logging.exception_stacks import Stack, as_dicts, capture
from vitals.logging.record_context import ROUTE, TRACE_ID, app_of, route_of
from vitals.redactor import Redactor, to_plain

Fields = dict[str, Any]

BASE_SIZE = 250
"""About the characters of a line without fields."""

_ACCESS_LOGGER = "uvicorn.access"
_ACCESS_ARGUMENTS = 5
"""Client, method, path with its query, version, status."""
_UNMATCHED = "(unmatched)"

_RECORD_ATTRIBUTES = frozenset(
    (*vars(logging.LogRecord("", 0, "", 0, "", (), None)), "message", "asctime", "taskName")
) | {TRACE_ID, ROUTE}
"""Attributes of a record that are not fields of the host; nor are those with an underscore."""
_RESERVED = ("timestamp", "level", "logger", "event", "service.name", "exception", "stack_info")
"""Fields of every line that are ours."""
_STRUCTLOG_FIELDS = ("event", "level", "logger", "timestamp", "exc_info", "stack_info", "stack")
INTERNAL_FIELDS = ("_record", "_from_structlog", "exc_info")
"""Fields of structlog's events that are no fields of a line."""

_SCALARS = frozenset((int, float, bool, type(None)))
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_TRACE_ID = re.compile("[0-9a-f]{32}")

_encode = msgspec.json.Encoder(enc_hook=str).encode


class Entry(NamedTuple):
    """What is kept of one record or event.

    Attributes:
        created: Unix time.
        level: Its level's name.
        logger: Its logger's name.
        event: The message; where ``parsed``, it may be the text of a JSON object.
        fields: Further fields, as plain values.
        trace_id: Of the request; empty outside of one.
        route: Its template.
        service_name: Of its application; empty for the process's.
        exception: The exception and its causes, or a text that was rendered already.
        stack: A formatted stack.
        parsed: Whether a message that is a JSON object holds the fields.
    """

    created: float
    level: str
    logger: str
    event: str
    fields: Fields
    trace_id: str
    route: str
    service_name: str
    exception: list[Stack] | str | None
    stack: str | None
    parsed: bool

    @property
    def size(self) -> int:
        """About how many characters its line takes."""
        size = BASE_SIZE + len(self.event) + len(self.stack or "")
        for key, value in self.fields.items():
            kind = type(value)
            size += len(key) + (len(value) if kind is str else 20 if kind in _SCALARS else 0)
            if kind is list or kind is dict:
                size += len(str(value))
        if isinstance(self.exception, str):
            size += len(self.exception)
        elif self.exception is not None:
            size += sum(stack.size for stack in self.exception)
        return size


def entry_of_record(record: logging.LogRecord, text: str | None) -> Entry:
    """What is kept of a record.

    Args:
        record: The record.
        text: What the host's formatter makes of its message; None for the message itself.
    """
    attributes = record.__dict__
    fields = _bound_by_structlog()
    for key, value in attributes.items():
        if key not in _RECORD_ATTRIBUTES and key[0] != "_":
            fields[key] = _snapshot(value)
    request = CURRENT.get()
    trace_id, route = attributes.get(TRACE_ID, ""), attributes.get(ROUTE, "")
    service_name = ""
    if request is not None:
        app = app_of(request)
        service_name = "" if app is None else app.service_name
        trace_id = trace_id or request.trace_id()
        route = route or route_of(request)
    exc_info = record.exc_info
    level, logger, stack = record.levelname.lower(), record.name, record.stack_info
    exception: list[Stack] | str | None = None
    event = text
    of_structlog = type(record.msg) is dict and "_logger" in attributes
    if text is not None:
        exc_info = exc_info or (of_structlog and record.msg.get("exc_info"))
    elif of_structlog:
        event, exc_info, exception, stack = _read_event(record.msg, fields)
    elif logger.startswith("vitals.") and EVENT in fields:
        event = str(fields.pop(EVENT))
    elif logger == _ACCESS_LOGGER:
        event = _access(record, request)
    else:
        event = record.getMessage()
    exception = exception or _exception(exc_info) or record.exc_text
    parsed = (text is not None or not record.args) and event.startswith("{")
    return Entry(
        *(record.created, level, logger, event, fields, trace_id, route, service_name),
        *(exception, stack, parsed),
    )


def entry_of_event(method: str, event: Any) -> Entry:
    """What is kept of an event of structlog, as its processors leave it.

    Args:
        method: The logger's method, such as ``info``.
        event: The event's fields, or a text that a processor has rendered.
    """
    request = CURRENT.get()
    trace_id = route = service_name = ""
    if request is not None:
        app = app_of(request)
        service_name = "" if app is None else app.service_name
        trace_id, route = request.trace_id(), route_of(request)
    level = "warning" if method == "warn" else "error" if method == "exception" else method
    if not isinstance(event, Mapping):
        text = event.decode(errors="replace") if isinstance(event, bytes) else str(event)
        text = without_colours(text)
        return Entry(
            *(time(), level, "structlog", text, {}, trace_id, route, service_name),
            *(None, None, True),
        )
    fields: Fields = {}
    text, exc_info, exception, stack = _read_event(event, fields)
    logger = str(event.get("logger", "structlog"))
    return Entry(
        *(time(), str(event.get("level", level)).lower(), logger, text, fields),
        *(trace_id, route, service_name, exception or _exception(exc_info), stack, False),
    )


def _read_event(
    event: Mapping[Any, Any], fields: Fields
) -> tuple[str, Any, str | None, str | None]:
    """Message, ``exc_info``, rendered exception and stack of an event; adds its other fields."""
    for key, value in event.items():
        if key not in _STRUCTLOG_FIELDS and key not in INTERNAL_FIELDS:
            fields[str(key)] = _snapshot(value)
    rendered = fields.get("exception")
    exception = fields.pop("exception") if isinstance(rendered, str) else None
    stack = event.get("stack_info") or event.get("stack")
    return (
        _text(event.get("event", "")),
        event.get("exc_info"),
        exception,
        stack if isinstance(stack, str) else None,
    )


def _exception(exc_info: Any) -> list[Stack] | None:
    """Captures what ``exc_info`` of a log call may be: an exception, its tuple, or true."""
    if not exc_info:
        return None
    if isinstance(exc_info, tuple) and len(exc_info) > 1:
        exc_info = exc_info[1]
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


def without_colours(text: str) -> str:
    """A text without the escape sequences of a terminal's colours."""
    return _COLOUR.sub("", text) if "\x1b" in text else text


def _bound_by_structlog() -> Fields:
    """What the application has bound to structlog's context variables."""
    contextvars = sys.modules.get("structlog.contextvars")
    if contextvars is None:
        return {}
    return {key: _snapshot(value) for key, value in contextvars.get_contextvars().items()}


def _snapshot(value: Any) -> Any:
    """A value as plain data that nobody else can change."""
    kind = type(value)
    if kind is str or kind in _SCALARS:
        return value
    try:
        return to_plain(value)
    except Exception:  # noqa: BLE001  # of the host's class
        return f"<unprintable {kind.__name__}>"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(_snapshot(value))


class JsonLines:
    """Renders entries.

    Args:
        service_name: ``service.name`` of lines outside of a request.
        redactor: Redacts every line.
    """

    def __init__(self, service_name: str, redactor: Redactor) -> None:
        self.service_name = service_name
        self._redactors = [redactor]

    def add_redactor(self, redactor: Redactor) -> None:
        """Redact every line by the rules of one more application."""
        if not redactor.is_default:
            self._redactors.append(redactor)

    def render(self, entry: Entry) -> str:
        """The line of an entry, without a line break; ASCII, so that any stream takes it."""
        line = _line_of(entry)
        trace_id = line.pop(TRACE_ID, "") or entry.trace_id
        if trace_id and not (isinstance(trace_id, str) and _TRACE_ID.fullmatch(trace_id)):
            line["extra.trace_id"], trace_id = trace_id, ""  # a value of the host's: redacted
        for redactor in self._redactors:
            line = redactor(None, "", line)  # type: ignore[assignment]
        head = {
            "timestamp": datetime.fromtimestamp(entry.created, UTC),
            "level": entry.level,
            "logger": line.pop("logger"),
            "event": line.pop("event"),
            "service.name": entry.service_name or self.service_name,
        }
        if trace_id:
            head["trace_id"] = trace_id
        if entry.route and "http.route" not in line:
            head["http.route"] = entry.route
        return _encode_line(head | line)


def _line_of(entry: Entry) -> Fields:
    """The fields of a line that are redacted."""
    fields, event, exception = entry.fields, entry.event, entry.exception
    if entry.parsed and (found := _parse(event)):
        event = str(found.pop("event" if "event" in found else "message"))
        exception = exception or found.pop("exception", None)
        fields = fields | {key: v for key, v in found.items() if key not in _STRUCTLOG_FIELDS}
    line: Fields = {
        f"extra.{key}" if key in _RESERVED else key: value for key, value in fields.items()
    }
    line |= {"event": event, "logger": entry.logger}
    if exception is not None:
        captured = exception is entry.exception and isinstance(exception, list)
        line["exception"] = as_dicts(exception) if captured else exception
    if entry.stack is not None:
        line["stack_info"] = entry.stack
    return line


def _parse(text: str) -> Fields | None:
    """The fields of an event that the host has rendered as JSON; None if it is no such text."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and ("event" in found or "message" in found) else None


def _encode_line(line: Fields) -> str:
    try:
        written = _encode(line)
        return written.decode() if written.isascii() else json.dumps(json.loads(written))
    except (ValueError, TypeError, OverflowError):  # a lone surrogate, or a large number
        return json.dumps(line, default=str)
