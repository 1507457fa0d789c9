"""Encodes records as OTLP, in the exporter's thread.

A message of protobuf is the concatenation of its fields, so what many spans share (a statement's
name, kind and attributes) is encoded once and joined with what they do not: ids and times, which
have a fixed size.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from vitals.asgi.request_times import ATTRIBUTES, Seconds, time_attributes
from vitals.asgi.trace_record import (
    Attributes,
    Details,
    Event,
    Span,
    TraceRecord,
    new_id,
)
from vitals.otlp.attributes import add_attributes
from vitals.otlp.fields import field
from vitals.own_code import short_path
from vitals.redactor import Redactor
from vitals.tracing.attribute_redaction import OWN_TRACER, redact_attributes
from vitals.tracing.tail.exceptions import FINGERPRINT
from vitals.tracing.tail.sampler import Item
from vitals.tracing.tail.server_attributes import Served, server_attributes

MAX_ROOTS = 2_000
"""Requests that were served unlike whose encoding is kept."""

_IDS = Struct(">2sQQ2sQ")
"""trace_id (field 1, 16 bytes) and span_id (field 2, 8 bytes), both with their tags."""
_PARENT = Struct(">2sQ")
_TIMES = Struct("<BQBQ")
"""start_time_unix_nano (field 7) and end_time_unix_nano (field 8), each fixed64."""
_TRACE_TAG, _SPAN_TAG, _PARENT_TAG = b"\x0a\x10", b"\x12\x08", b"\x22\x08"
_START_TAG, _END_TAG = 0x39, 0x41
_ROWS = "db.response.returned_rows"
_OWN_PREFIXES = ("vitals.", "code.")


class RecordEncoder:
    """Encodes the records of one application.

    Args:
        resource: The attributes of the service.
        redactor: Redacts what others have named, and exceptions.
    """

    def __init__(self, resource: Mapping[str, Any], redactor: Redactor) -> None:
        self._redactor = redactor
        self._roots: dict[Served, bytes] = {}
        made = Resource()
        add_attributes(made.attributes, resource)
        self._resource = field(0x0A, made.SerializeToString())

    def __call__(self, items: Sequence[Item]) -> bytes:
        """An ``ExportTraceServiceRequest`` of records and their spans."""
        scopes: dict[str, list[bytes]] = {}
        for record, spans, has_root in items:
            if has_root:
                scope, encoded = self._root(record)
                scopes.setdefault(scope, []).append(field(0x12, encoded))
            for span in spans:
                details = span[8]
                scope = details.scope if type(details) is Details else ""
                encoded = self._span(record, span)
                scopes.setdefault(scope, []).append(field(0x12, encoded))
        parts = [
            field(0x12, _scope(scope or OWN_TRACER) + b"".join(spans))
            for scope, spans in scopes.items()
        ]
        return field(0x0A, self._resource + b"".join(parts))

    def _root(self, record: TraceRecord) -> tuple[str, bytes]:
        scope, more = "", b""
        if record.served is None or record.details is not None or record.more:
            scope, static = self._root_of_host(record)
        else:
            static = self._root_of(record.name, record.kind, record.served)
        if record.parts is not None:
            more = _times(record.parts)
        if record.error_fingerprint:
            more += _fingerprint(record.error_fingerprint)
        if record.events:
            more += self._events(record.events)
        ids = _IDS.pack(
            _TRACE_TAG, record.trace_id >> 64, record.trace_id & _LOW, _SPAN_TAG, record.span_id
        )
        parent = _PARENT.pack(_PARENT_TAG, record.parent_id) if record.parent_id else b""
        times = _TIMES.pack(_START_TAG, record.started, _END_TAG, record.ended)
        return scope, ids + parent + times + static + more

    def _root_of(self, name: str, kind: int, served: Served) -> bytes:
        """What the spans of requests share that were served alike."""
        try:
            static = self._roots.get(served)
        except TypeError:  # of a server whose scope holds a list
            return self._served(name, kind, served)
        if static is None:
            static = self._served(name, kind, served)
            if len(self._roots) >= MAX_ROOTS:
                self._roots.clear()
            self._roots[served] = static
        return static

    def _served(self, name: str, kind: int, served: Served) -> bytes:
        attributes = self._safe(server_attributes(served))
        static = self._static(name, kind, attributes, "")
        return static + _status(str(attributes.get("error.type", "")), None, self._redactor)

    def _root_of_host(self, record: TraceRecord) -> tuple[str, bytes]:
        """A root that the host has made, or has set attributes of; its tracer and the rest."""
        name, details, attributes = record.name, record.details, record.attributes
        scope, more = "", b""
        if record.served is not None:
            attributes = server_attributes(record.served)
        if details is not None:
            name = self._redactor.message(name)
            attributes = self._redactor.attributes(attributes)
            more, scope = self._details(details), details.scope
        if record.more:
            attributes = {**self._redactor.attributes(record.more), **attributes}
        static = self._static(name, record.kind, self._safe(attributes), "")
        return scope, static + _status(record.error_type, details, self._redactor) + more

    def _safe(self, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Attributes of a server span without a client's secrets."""
        agent = attributes.get("user_agent.original")
        if agent is None:
            return attributes
        return {**attributes, **self._redactor.attributes({"user_agent.original": agent})}

    def _span(self, record: TraceRecord, span: Span) -> bytes:
        name, kind, span_id, parent_id, start, end, attributes, error_type, details = span
        ids = _IDS.pack(
            _TRACE_TAG,
            record.trace_id >> 64,
            record.trace_id & _LOW,
            _SPAN_TAG,
            span_id or new_id(),
        )
        head = (
            ids
            + _PARENT.pack(_PARENT_TAG, parent_id)
            + _TIMES.pack(_START_TAG, start, _END_TAG, end)
        )
        more = b""
        if type(details) is Details:
            if details.foreign:
                name = self._redactor.message(name)
                attributes = redact_attributes(self._redactor, attributes)
            more = self._details(details) + _status(error_type, details, self._redactor)
        else:
            if details is not None:
                code, line, rows = details  # type: ignore[misc]  # no Details
                more = (
                    _call_site("", "", 0, rows)
                    if code is None
                    else _call_site(code.co_filename, code.co_qualname, line, rows)
                )
            if error_type:
                more += _FAILED
        if record.ended and start >= record.ended and parent_id == record.span_id:
            more += _links([(record.trace_id, record.span_id)])
        if type(attributes) is Attributes:
            static = attributes.encoded.get((name, kind, error_type))
            if static is None:
                static = self._static(name, kind, attributes, error_type)
                attributes.encoded[name, kind, error_type] = static
        else:
            static = self._static(name, kind, attributes, error_type)
        return head + static + more

    def _static(
        self, name: str, kind: int, attributes: Mapping[str, Any], error_type: str
    ) -> bytes:
        span = OtlpSpan(name=name, kind=kind)  # type: ignore[arg-type]  # a number of its enum
        add_attributes(span.attributes, attributes)
        if error_type and "error.type" not in attributes:
            add_attributes(span.attributes, {"error.type": error_type})
        return bytes(span.SerializeToString())

    def _details(self, details: Details) -> bytes:
        more = _links(details.links) if details.links else b""
        return more + (self._events(details.events) if details.events else b"")

    def _events(self, events: Iterable[Event]) -> bytes:
        span = OtlpSpan()
        for each in events:
            made = each.attributes() if callable(each.attributes) else each.attributes
            own = {k: v for k, v in made.items() if k.startswith(_OWN_PREFIXES)}
            event = span.events.add(name=self._redactor.message(each.name))
            event.time_unix_nano = each.time
            add_attributes(event.attributes, {**self._redactor.attributes(made), **own})
        return bytes(span.SerializeToString())


_LOW = 2**64 - 1
_FAILED: bytes = OtlpSpan(status=Status(code=Status.STATUS_CODE_ERROR)).SerializeToString()


def _status(error_type: str, details: Details | None, redactor: Redactor) -> bytes:
    if not error_type:
        return b""
    if details is None or not details.status:
        return _FAILED
    text = redactor.status(details.status)
    return bytes(
        OtlpSpan(status=Status(code=Status.STATUS_CODE_ERROR, message=text)).SerializeToString()
    )


def _links(links: Iterable[tuple[int, int]]) -> bytes:
    span = OtlpSpan()
    for trace_id, span_id in links:
        span.links.add(trace_id=trace_id.to_bytes(16, "big"), span_id=span_id.to_bytes(8, "big"))
    return bytes(span.SerializeToString())


@lru_cache(maxsize=64)
def _scope(name: str) -> bytes:
    return field(0x0A, InstrumentationScope(name=name).SerializeToString())


@lru_cache(maxsize=4_096)
def _call_site(file: str, function: str, line: int, rows: int) -> bytes:
    """Attributes of where a statement was sent, and of the rows that it returned."""
    found: dict[str, Any] = {}
    if file:
        found = {
            "code.file.path": short_path(file),
            "code.line.number": line,
            "code.function.name": function,
        }
    if rows >= 0:
        found[_ROWS] = rows
    span = OtlpSpan()
    add_attributes(span.attributes, found)
    return bytes(span.SerializeToString())


def _times(seconds: Seconds) -> bytes:
    """Attributes of a request's seconds by part, of each part that there was."""
    spent = time_attributes(seconds).items()
    return b"".join([_TIME_HEADS[name] + _DOUBLE.pack(value) for name, value in spent])


def _time_head(name: str) -> bytes:
    """An attribute whose value is a double, but for its eight bytes."""
    head = field(0x0A, name.encode()) + b"\x12\x09\x21"
    return bytes((0x4A, len(head) + 8)) + head


_TIME_HEADS = {name: _time_head(name) for name in ATTRIBUTES}
_DOUBLE = Struct("<d")


@lru_cache(maxsize=1_024)
def _fingerprint(fingerprint: str) -> bytes:
    """The attribute of an error's fingerprint."""
    span = OtlpSpan()
    add_attributes(span.attributes, {FINGERPRINT: fingerprint})
    return bytes(span.SerializeToString())
