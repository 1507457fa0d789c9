"""Rows of spans: what one export request has of one trace becomes one row, a chunk."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import zstandard
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status

from stack.store.otlp.attributes import value_of, values_of
from stack.store.otlp.clock import Clock
from stack.store.partitions.terms import Value, grams, term

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
STATUSES = ("unset", "ok", "error")
INTRINSIC = "intrinsic"
"""Scope of a span's own fields in the index: `name`, `status`, `kind`."""
Tag = tuple[str, str, str, str]
"""Scope, name, type and value of an attribute that a person can choose from a list."""
_MAX_TAG = 128
_TRACE_ID, _SPAN_ID = 16, 8
_compressor = zstandard.ZstdCompressor(level=1)


@dataclass
class Chunk:
    """Spans of one trace and one resource, as they arrived.

    Attributes:
        trace_id: 16 bytes.
        start: Of the first span, in nanoseconds since 1970.
        end: Of the last span.
        longest: Duration of the longest span, in nanoseconds.
        resource: The resource, encoded.
        service: Its `service.name`.
        root: Name of the span without a parent, if it is here.
        spans: How many.
        errors: How many of them failed.
        content: `ResourceSpans` without the resource, compressed.
        terms: For the index: of attributes, and of the triples of letters of their texts.
        tags: For lists to choose from.
    """

    trace_id: bytes
    start: int
    end: int
    longest: int
    resource: bytes
    service: str
    root: str | None
    spans: int
    errors: int
    content: bytes
    terms: set[str]
    tags: set[Tag]


@dataclass
class _Draft:
    content: ResourceSpans
    spans: list[Span]


def chunks_of(
    request: ExportTraceServiceRequest, clock: Clock, rejected: list[str]
) -> Iterator[Chunk]:
    """The chunks of a request.

    Args:
        request: The request.
        clock: Says which times are kept.
        rejected: Receives a reason for each span that is not kept.
    """
    for group in request.resource_spans:
        resource = values_of(group.resource.attributes)
        drafts: dict[bytes, _Draft] = {}
        for scoped in group.scope_spans:
            by_trace: dict[bytes, list[Span]] = {}
            for span in scoped.spans:
                if reason := _refusal(span, clock):
                    rejected.append(reason)
                else:
                    by_trace.setdefault(span.trace_id, []).append(span)
            for trace_id, spans in by_trace.items():
                draft = drafts.setdefault(trace_id, _Draft(ResourceSpans(), []))
                target = draft.content.scope_spans.add(scope=scoped.scope)
                target.spans.extend(spans)
                draft.spans.extend(spans)
        encoded = group.resource.SerializeToString()
        for trace_id, draft in drafts.items():
            yield _chunk(trace_id, draft, resource, encoded)


def _refusal(span: Span, clock: Clock) -> str:
    if len(span.trace_id) != _TRACE_ID or not any(span.trace_id):
        return "a span without a trace id of 16 bytes"
    if len(span.span_id) != _SPAN_ID or not any(span.span_id):
        return "a span without a span id of 8 bytes"
    return clock.refusal(span.start_time_unix_nano) or clock.refusal(span.end_time_unix_nano)


def _chunk(trace_id: bytes, draft: _Draft, resource: dict[str, Any], encoded: bytes) -> Chunk:
    terms: set[str] = set()
    tags: set[Tag] = set()
    _index("resource", resource, terms, tags)
    longest = errors = 0
    root = None
    for span in draft.spans:
        longest = max(longest, span.end_time_unix_nano - span.start_time_unix_nano)
        status = STATUSES[span.status.code] if span.status.code < len(STATUSES) else STATUSES[0]
        kind = KINDS[span.kind] if span.kind < len(KINDS) else KINDS[0]
        errors += span.status.code == Status.STATUS_CODE_ERROR
        if not span.parent_span_id:
            root = span.name
        _index(INTRINSIC, {"name": span.name, "status": status, "kind": kind}, terms, tags)
        terms |= grams(span.status.message)
        for each in span.attributes:
            _index_one("span", each.key, value_of(each.value), terms, tags)
        for event in span.events:
            terms.add(term("event", "event:name", event.name))
            for each in event.attributes:
                _index_one("event", each.key, value_of(each.value), terms, tags)
    return Chunk(
        trace_id=trace_id,
        start=min(span.start_time_unix_nano for span in draft.spans),
        end=max(span.end_time_unix_nano for span in draft.spans),
        longest=longest,
        resource=encoded,
        service=str(resource.get("service.name", "unknown_service")),
        root=root,
        spans=len(draft.spans),
        errors=errors,
        content=_compressor.compress(draft.content.SerializeToString()),
        terms=terms,
        tags=tags,
    )


def _index(scope: str, values: dict[str, Any], terms: set[str], tags: set[Tag]) -> None:
    for name, value in values.items():
        _index_one(scope, name, value, terms, tags)


def _index_one(scope: str, name: str, value: Any, terms: set[str], tags: set[Tag]) -> None:
    if isinstance(value, list):
        for each in value:
            _index_one(scope, name, each, terms, tags)
        return
    if not isinstance(value, Value):
        return
    terms.add(term(scope, name, value))
    if isinstance(value, str) and scope != "resource":
        terms |= grams(value)
    if isinstance(value, str) and len(value) > _MAX_TAG:
        return
    tags.add((scope, name, _type_of(value), str(value)))


def _type_of(value: Value) -> str:
    if isinstance(value, bool):
        return "bool"
    return {int: "int", float: "float"}.get(type(value), "string")
