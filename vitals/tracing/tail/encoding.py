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

from vitals.asgi.trace_record import (
    Attributes,
    Details,
    Event,
    Span,
    TraceRecord,
    new_id,
)
from vitals.otlp.attributes import add_attributes
from vitals.own_code import short_path
from vitals.redactor import Redactor
from vitals.tracing.attribute_redaction import OWN_TRACER, redact_attributes
from vitals.tracing.tail.exceptions import FINGERPRINT
from vitals.tracing.tail.sampler import Item

MAX_ROOTS = 2_000
"""Sets of attributes of server spans whose encoding is kept."""

_IDS = Struct(">2sQQ2sQ")
"""trace_id (field 1, 16 bytes) and span_id (field 2, 8 bytes), both with their tags."""
_PARENT = Struct(">2sQ")
_TIMES = Struct("<BQBQ")
"""start_time_unix_nano (field 7) and end_time_unix_nano (field 8), each fixed64."""
_TRACE_TAG, _SPAN_TAG, _PARENT_TAG = b"\x0a\x10", b"\x12\x08", b"\x22\x08"
_START_TAG, _END_TAG = 0x39, 0x41
_SEVEN_BITS, _MORE = 0x7F, 0x80
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
        self._roots: dict[tuple[Any, ...], bytes] = {}
        made = Resource()
        add_attributes(made.attributes, resource)
        self._resource = _field(0x0A, made.SerializeToString())

    def __call__(self, items: Sequence[Item]) -> bytes:
        """An ``ExportTraceServiceRequest`` of records and their spans."""
        scopes: dict[str, list[bytes]] = {}
        for record, spans, has_root in items:
            if has_root:
                scope, encoded = self._root(record)
                scopes.setdefault(scope, []).append(_field(0x12, encoded))
            for span in spans:
                details = span[8]
                scope = details.scope if type(details) is Details else ""
                encoded = self._span(record, span)
                scopes.setdefault(scope, []).append(_field(0x12, encoded))
        parts = [
            _field(0x12, _scope(scope or OWN_TRACER) + b"".join(spans))
            for scope, spans in scopes.items()
        ]
        return _field(0x0A, self._resource + b"".join(parts))

    def _root(self, record: TraceRecord) -> tuple[str, bytes]:
        name, details, attributes = record.name, record.details, record.attributes
        scope = ""
        more = b""
        if details is not None:
            name = self._redactor.message(name)
            attributes = self._redactor.attributes(attributes)
            more, scope = self._details(details), details.scope
        if record.more:
            attributes = {**self._redactor.attributes(record.more), **attributes}
        if record.error_fingerprint:
            attributes = {**attributes, FINGERPRINT: record.error_fingerprint}
        if record.events:
            more += self._events(record.events)
        key = name, record.kind, record.error_type, *attributes.items()
        try:
            static = self._roots.get(key)
        except TypeError:  # a list among the values
            key, static = (), None
        if static is None:
            static = self._static(name, record.kind, self._safe(attributes), "")
            static += _status(record.error_type, details, self._redactor)
            if key:
                if len(self._roots) >= MAX_ROOTS:
                    self._roots.clear()
                self._roots[key] = static
        ids = _IDS.pack(
            _TRACE_TAG, record.trace_id >> 64, record.trace_id & _LOW, _SPAN_TAG, record.span_id
        )
        parent = _PARENT.pack(_PARENT_TAG, record.parent_id) if record.parent_id else b""
        times = _TIMES.pack(_START_TAG, record.started, _END_TAG, record.ended)
        return scope, ids + parent + times + static + more

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
    return _field(0x0A, InstrumentationScope(name=name).SerializeToString())


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


def _field(tag: int, body: bytes) -> bytes:
    """A field of a message: tag, length, body (protobuf.dev/programming-guides/encoding)."""
    size, head = len(body), bytearray((tag,))
    while size > _SEVEN_BITS:
        head.append(size & _SEVEN_BITS | _MORE)
        size >>= 7
    head.append(size)
    return bytes(head) + body
