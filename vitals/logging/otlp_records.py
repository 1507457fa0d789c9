"""Log records of OTLP, made of what was kept of records and events.

https://opentelemetry.io/docs/specs/otel/logs/data-model; the logger's name is the scope, names of
attributes are those of the semantic conventions.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from vitals.logging.entries import Entry, KitEntry
from vitals.logging.redacted_entries import EntryRedactor
from vitals.otlp.attributes import add_attributes, set_value

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


class Exported(NamedTuple):
    """What waits for the exporter.

    Attributes:
        entry: What was logged.
        source: Attributes of where.
        trace_id: Of the current span; 0 outside of one.
        span_id: Its id.
        sampled: Whether its trace is sampled.
    """

    entry: Entry | KitEntry
    source: Mapping[str, Any]
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
        self._resources: dict[str, Mapping[str, str]] = {}
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
        request = ExportLogsServiceRequest()
        resources: dict[str, Any] = {}
        scopes: dict[tuple[str, str], Any] = {}
        for each in records:
            name = each.entry.service_name
            name = name if name in self._services else next(iter(self._services), "")
            key = name, each.entry.logger
            try:
                if key not in scopes:
                    if name not in resources:
                        resources[name] = request.resource_logs.add()
                        add_attributes(resources[name].resource.attributes, self._resource(name))
                    scopes[key] = resources[name].scope_logs.add()
                    set_value_of_scope(scopes[key].scope, each.entry.logger)
                self._encode(scopes[key].log_records.add(), each)
            except Exception:  # noqa: BLE001  # one record, not those beside it
                self._on_drop("log_format")
        return bytes(request.SerializeToString())

    def _resource(self, name: str) -> Mapping[str, str]:
        if self._process != os.getpid():  # a parent's id is not inherited
            self._process = os.getpid()
            self._resources.clear()
        if name not in self._resources:
            found = self._services[name]() if name in self._services else {}
            self._resources[name] = {**found, PROCESS_ID: self._process}  # type: ignore[dict-item]
        return self._resources[name]

    def _encode(self, to: Any, exported: Exported) -> None:
        entry = exported.entry
        to.time_unix_nano = to.observed_time_unix_nano = int(entry.created * 1e9)
        attributes: dict[str, Any] = dict(exported.source)
        if isinstance(entry, KitEntry):
            level = logging.getLevelName(entry.level)
            event: Any = entry.event
            attributes |= {**self._redact.fields(entry.bound), **entry.fields}
            trace_id = attributes.pop("trace_id", "")
        else:
            level = entry.level.upper()
            event, trace_id, fields = self._redact(entry)
            if entry.route:
                attributes["http.route"] = entry.route
            attributes |= _attributes(fields)
        to.severity_text, to.severity_number = level, severity(level)
        set_value(to.body, event)
        own = f"{exported.trace_id:032x}" if exported.trace_id else ""
        if trace_id or own:
            to.trace_id = bytes.fromhex(trace_id or own)
        if own and own == (trace_id or own):
            to.span_id = exported.span_id.to_bytes(8, "big")
            to.flags = int(exported.sampled)
        to.dropped_attributes_count = add_attributes(to.attributes, attributes)


def set_value_of_scope(scope: Any, name: str) -> None:
    """Name a scope."""
    scope.name = name.encode(errors="replace").decode()


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
