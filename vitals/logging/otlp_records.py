"""Log records of OTLP, made of what was kept of records and events.

https://opentelemetry.io/docs/specs/otel/logs/data-model; the logger's name is the scope, names of
attributes are those of the semantic conventions.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any, NamedTuple

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as ResourceMessage

from vitals.logging.entries import Entry, KitEntry
from vitals.logging.redacted_entries import EntryRedactor
from vitals.otlp.attributes import MAX_VALUE, add_attributes, set_value
from vitals.otlp.fields import field

PROCESS_ID = "process.pid"
_SENTENCES = (
    "\n\nDuring handling of the above exception, another exception occurred:\n\n",
    "\n\nThe above exception was the direct cause of the following exception:\n\n",
)
_SEVERITIES = (
    (logging.CRITICAL, 21),
    (logging.ERROR, 17),
    (logging.WARNING, 13),
    (logging.INFO, 9),
    (logging.DEBUG, 5),
)
"""Levels and OpenTelemetry's numbers of them."""

Resource = Callable[[], Mapping[str, str]]


Source = tuple[str, int, str | None]
SOURCE_ATTRIBUTES = ("code.file.path", "code.line.number", "code.function.name")


class Exported(NamedTuple):
    """What waits for the exporter.

    Attributes:
        entry: What was logged.
        source: Path, line and function that logged it; None if these are not known.
        trace_id: Of the current span; 0 outside of one.
        span_id: Its id.
        sampled: Whether its trace is sampled.
    """

    entry: Entry | KitEntry
    source: Source | None
    trace_id: int = 0
    span_id: int = 0
    sampled: bool = False


class RecordEncoder:
    """Encodes entries as a request of OTLP.

    Args:
        redact: Redacts them.
        on_drop: Called with the reason for each that cannot be encoded.
    """

    def __init__(self, redact: EntryRedactor, on_drop: Callable[[str], None]) -> None:
        self._redact = redact
        self._on_drop = on_drop
        self._services: dict[str, Resource] = {}
        self._resources: dict[str, bytes] = {}
        self._process = 0

    def add_service(self, name: str, resource: Resource) -> None:
        """Export the records of one more application; records outside of requests are the first's.

        Args:
            name: Its ``service.name``.
            resource: Returns the attributes of its resource; called in the process that exports.
        """
        self._services[name] = resource
        self._resources.pop(name, None)

    def __call__(self, records: Sequence[Exported]) -> bytes:
        """The serialised request of records; one that cannot be encoded is left out and counted."""
        self._redact.prepare([each.entry for each in records])
        resources: dict[str, dict[str, list[bytes]]] = {}
        for each in records:
            name = each.entry.service_name
            name = name if name in self._services else next(iter(self._services), "")
            try:
                encoded = field(0x12, self._record(each))
            except Exception:  # noqa: BLE001  # one record, not those beside it
                self._on_drop("log_format")
                continue
            scopes = resources.setdefault(name, {})
            scopes.setdefault(each.entry.logger, []).append(encoded)
        return b"".join(
            field(
                0x0A,
                self._resource(name)
                + b"".join(
                    field(0x12, _scope(scope) + b"".join(made)) for scope, made in of.items()
                ),
            )
            for name, of in resources.items()
        )

    def _resource(self, name: str) -> bytes:
        if self._process != os.getpid():  # a parent's id is not inherited
            self._process = os.getpid()
            self._resources.clear()
        if name not in self._resources:
            found = self._services[name]() if name in self._services else {}
            made = ResourceMessage()
            add_attributes(made.attributes, {**found, PROCESS_ID: self._process})
            self._resources[name] = field(0x0A, made.SerializeToString())
        return self._resources[name]

    def _record(self, exported: Exported) -> bytes:
        entry, source = exported.entry, exported.source
        attributes: dict[str, Any] = {}
        route = ""
        if isinstance(entry, KitEntry):
            level = logging.getLevelName(entry.level)
            event: Any = entry.event
            attributes = {**self._redact.fields(entry.bound), **entry.fields}
            trace_id = attributes.pop("trace_id", "")
        else:
            level = entry.level.upper()
            event, trace_id, fields = self._redact(entry)
            if fields:
                attributes = _attributes(fields)
            if type(entry.route) is str:
                route = entry.route
            elif entry.route:  # the host's own, which may be anything
                attributes = {"http.route": entry.route} | attributes
        own = f"{exported.trace_id:032x}" if exported.trace_id else ""
        ids = b""
        if trace_id or own:
            ids = field(0x4A, bytes.fromhex(trace_id or own))
        if own and own == (trace_id or own):
            ids += _SPAN.pack(_SPAN_TAG, exported.span_id) + _FLAGS[bool(exported.sampled)]
        more = b""
        if attributes:
            more = _further_attributes(source, route, attributes)
            source, route = None, ""
        now = int(entry.created * 1e9)
        times = _TIMES.pack(_TIME_TAG, now, _OBSERVED_TAG, now)
        return times + _static(level, source, route) + _body(event) + more + ids


_TIMES = Struct("<BQBQ")
"""time_unix_nano (field 1) and observed_time_unix_nano (field 11), each fixed64."""
_TIME_TAG, _OBSERVED_TAG = 0x09, 0x59
_SPAN, _SPAN_TAG = Struct(">2sQ"), b"\x52\x08"
_FLAGS = (b"\x45\x00\x00\x00\x00", b"\x45\x01\x00\x00\x00")
"""Not sampled, and sampled (field 8, fixed32)."""


@lru_cache(4_096)
def _static(level: str, source: Source | None, route: str) -> bytes:
    """What records share that one line logs in one route."""
    made = LogRecord(severity_text=level, severity_number=severity(level))  # type: ignore[arg-type]
    add_attributes(made.attributes, _source_attributes(source, route))
    return bytes(made.SerializeToString())


def _source_attributes(source: Source | None, route: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    if source is not None:
        attributes = dict(zip(SOURCE_ATTRIBUTES, source, strict=True))
    if route:
        attributes["http.route"] = route
    return attributes


def _further_attributes(source: Source | None, route: str, attributes: Mapping[str, Any]) -> bytes:
    """All attributes of a record that has more than where it was logged."""
    made = LogRecord()
    attributes = _source_attributes(source, route) | dict(attributes)
    made.dropped_attributes_count = add_attributes(made.attributes, attributes)
    return bytes(made.SerializeToString())


def _body(event: Any) -> bytes:
    if type(event) is str and len(event) <= MAX_VALUE:
        return field(0x2A, field(0x0A, event.encode(errors="replace")))
    made = LogRecord()
    set_value(made.body, event)
    return bytes(made.SerializeToString())


@lru_cache(1_024)
def _scope(name: str) -> bytes:
    """A scope by its name."""
    scope = InstrumentationScope(name=name.encode(errors="replace").decode())
    return field(0x0A, scope.SerializeToString())


@lru_cache(100)
def severity(level: str) -> int:
    """OpenTelemetry's number of a level, also of one that the host has added between others."""
    number = logging.getLevelName(level)
    if not isinstance(number, int):
        return 0
    for least, found in _SEVERITIES:
        if number >= least:
            return found + min(3, (number - least) // 3)
    return 1


def rejected(answer: bytes) -> int:
    """How many records a collector says to have rejected."""
    try:
        response = ExportLogsServiceResponse.FromString(answer)
    except Exception:  # noqa: BLE001  # no protobuf: a collector that answers a text
        return 0
    return int(response.partial_success.rejected_log_records)


def _attributes(fields: dict[str, Any]) -> dict[str, Any]:
    """Attributes of a record's fields, with exceptions by the semantic conventions."""
    exception = fields.pop("exception", None)
    stack = fields.pop("stack_info", None)
    if stack is not None:
        fields["code.stacktrace"] = stack
    if isinstance(exception, list) and exception:
        fields["exception.type"] = exception[0]["exc_type"]
        fields["exception.message"] = exception[0]["exc_value"]
        fields["exception.stacktrace"] = stacktrace(exception)
    elif exception:
        text = str(exception)
        kind, _, message = text.rstrip().rpartition("\n")[2].partition(": ")
        fields["exception.type"], fields["exception.message"] = kind, message
        fields["exception.stacktrace"] = text
    return fields


def stacktrace(exceptions: Sequence[Mapping[str, Any]]) -> str:
    """Exceptions as Python prints them, without source lines: they may hold secrets.

    Args:
        exceptions: As structlog's dictionaries: an exception, then what it was raised from.
    """
    text = ""
    for exception in reversed(exceptions):
        # Whether an exception is a cause is said of the cause, which comes first in the text.
        text += _stack(exception)
        if exception is not exceptions[0]:
            text += _SENTENCES[bool(exception["is_cause"])]
    return text


def _stack(exception: Mapping[str, Any]) -> str:
    lines = ["Traceback (most recent call last):"] if exception["frames"] else []
    for frame in exception["frames"]:
        if frame["lineno"] < 0:  # those left out
            lines.append(f"  {frame['name']}")
        else:
            file, line, name = frame["filename"], frame["lineno"], frame["name"]
            lines.append(f'  File "{file}", line {line}, in {name}')
    kind, message = exception["exc_type"], exception["exc_value"]
    lines.append(f"{kind}: {message}" if message else str(kind))
    lines += [str(note) for note in exception["exc_notes"]]
    for group in exception.get("exceptions") or ():
        if isinstance(group, list):
            lines += [f"  | {line}" for line in stacktrace(group).splitlines()]
    return "\n".join(lines)
