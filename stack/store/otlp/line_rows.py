"""Rows of log lines: labels of the stream and structured metadata, as Loki 3 makes them of OTLP.

Source: https://grafana.com/docs/loki/latest/send-data/otel/ ("Changes to the default log format").
Names are those of Loki's labels, with underscores; of resources, the attributes below are labels.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from stack.store.otlp.attributes import value_of, values_of
from stack.store.otlp.clock import Clock
from stack.store.partitions.terms import term, text_of

LABELS = (
    "service.name",
    "service.namespace",
    "service.instance.id",
    "deployment.environment",
    "deployment.environment.name",
)
MAX_LINE = 256_000
"""Characters of a line; Loki's default bound."""
_LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")
_PER_LEVEL = 4
_OTHER = re.compile(r"[^A-Za-z0-9]")
_encode = msgspec.json.Encoder(order="sorted").encode


@dataclass
class Line:
    """A log line.

    Attributes:
        time: Nanoseconds since 1970.
        labels: Labels of its stream, as JSON.
        resource: Structured metadata that are the same for the stream, as JSON.
        trace_id: 32 hexadecimal digits, if it was logged within a trace.
        body: The text.
        metadata: Structured metadata, as JSON.
        terms: For the index.
    """

    time: int
    labels: str
    resource: str
    trace_id: str | None
    body: str
    metadata: str
    terms: set[str]


def lines_of(
    request: ExportLogsServiceRequest, clock: Clock, rejected: list[str]
) -> Iterator[Line]:
    """The lines of a request.

    Args:
        request: The request.
        clock: Says which times are kept.
        rejected: Receives a reason for each line that is not kept.
    """
    for group in request.resource_logs:
        resource = values_of(group.resource.attributes)
        labels = {name: resource.pop(name) for name in LABELS if name in resource}
        labels.setdefault("service.name", "unknown_service")
        labels = flat(labels)
        for scoped in group.scope_logs:
            shared = flat(resource)
            if scoped.scope.name:
                shared["scope_name"] = scoped.scope.name
            if scoped.scope.version:
                shared["scope_version"] = scoped.scope.version
            shared |= flat(values_of(scoped.scope.attributes))
            encoded = _encode(shared).decode()
            by_level: dict[str, str] = {}
            for record in scoped.log_records:
                moment = record.time_unix_nano or record.observed_time_unix_nano or clock.now
                body = _body(record)
                if reason := _refusal(moment, body, clock):
                    rejected.append(reason)
                    continue
                level = level_of(record)
                if level not in by_level:
                    by_level[level] = _encode(labels | {"level": level}).decode()
                yield _line(record, moment, body, by_level[level], encoded)


def level_of(record: LogRecord) -> str:
    """The level: from the number of the severity, or from its text."""
    if record.severity_number:
        return _LEVELS[min((record.severity_number - 1) // _PER_LEVEL, len(_LEVELS) - 1)]
    text = record.severity_text.lower()
    known = {"warning": "warn", "critical": "fatal", **{level: level for level in _LEVELS}}
    return known.get(text, "unknown")


def label_name(attribute: str) -> str:
    """The label of an attribute: other letters than those of ASCII become underscores."""
    return _OTHER.sub("_", attribute)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Attributes as labels: names with underscores, nested ones joined, values as text."""
    found: dict[str, str] = {}
    for key, value in values.items():
        name = prefix + label_name(key)
        if isinstance(value, dict):
            found |= flat(value, f"{name}_")
        elif isinstance(value, list):
            found[name] = _encode(value).decode()
        elif value is not None:
            found[name] = text_of(value)
    return found


def _line(record: LogRecord, moment: int, body: str, labels: str, resource: str) -> Line:
    metadata = flat({each.key: value_of(each.value) for each in record.attributes})
    if record.severity_text:
        metadata["severity_text"] = record.severity_text
    if record.severity_number:
        metadata["severity_number"] = str(record.severity_number)
    if any(record.span_id):
        metadata["span_id"] = record.span_id.hex()
    return Line(
        time=moment,
        labels=labels,
        resource=resource,
        trace_id=record.trace_id.hex() if any(record.trace_id) else None,
        body=body,
        metadata=_encode(metadata).decode(),
        terms={term("", name, value) for name, value in metadata.items()},
    )


def _body(record: LogRecord) -> str:
    body = value_of(record.body)
    if body is None:
        return record.event_name
    return body if isinstance(body, str) else _encode(body).decode()


def _refusal(moment: int, body: str, clock: Clock) -> str:
    if len(body) > MAX_LINE:
        return f"a line of more than {MAX_LINE} characters"
    return clock.refusal(moment)
