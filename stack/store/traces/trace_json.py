"""Traces as Tempo's HTTP API writes them.

Source: https://grafana.com/docs/tempo/latest/api_docs/
"""

import json
from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from stack.store.otlp.span_rows import INTRINSIC
from stack.store.traces.stored_spans import StoredChunk, StoredSpan
from stack.store.traces.trace_search import Found, FoundTrace
from stack.store.traces.traceql import Field, TraceQuery, conditions

NO_ROOT = "<root span not yet received>"
"""What Tempo says of a trace whose span without a parent is not there."""
_LENGTH_DELIMITED_1 = b"\x0a"
_MILLISECOND = 10**6
_SEVEN_BITS = 0x7F


def trace_of(chunks: Sequence[StoredChunk]) -> TracesData:
    """A whole trace; its encoding is also that of Tempo's `Trace`.

    A span that a collector has sent twice, in different batches, is there once.
    """
    trace = TracesData()
    trace.resource_spans.extend(chunk.decoded for chunk in chunks)
    if len(chunks) > 1:
        seen: set[tuple[bytes, str, int, int]] = set()
        for resource in trace.resource_spans:
            for scope in resource.scope_spans:
                _remove_seen(scope.spans, seen)
    return trace


def _remove_seen(spans: Any, seen: set[tuple[bytes, str, int, int]]) -> None:
    keys = [
        (each.span_id, each.name, each.start_time_unix_nano, each.end_time_unix_nano)
        for each in spans
    ]
    for number in reversed(range(len(keys))):
        if keys[number] in seen:
            del spans[number]
    seen.update(keys)


def as_json(trace: TracesData) -> bytes:
    """The body of `/api/traces/{id}`; ids are base64, as protobuf's JSON has them."""
    content = json_format.MessageToDict(trace)
    return json.dumps({"batches": content.get("resourceSpans", [])}).encode()


def as_json_v2(trace: TracesData) -> bytes:
    """The body of `/api/v2/traces/{id}`."""
    return json.dumps({"trace": json_format.MessageToDict(trace), "metrics": {}}).encode()


def as_protobuf_v2(trace: TracesData) -> bytes:
    """The same as a `TraceByIDResponse`, of which the trace is field 1."""
    content: bytes = trace.SerializeToString()
    return _LENGTH_DELIMITED_1 + _varint(len(content)) + content


def search_result(found: Found, query: TraceQuery, per_set: int) -> dict[str, Any]:
    """The body of `/api/search`.

    Args:
        found: What was found.
        query: The query; its attributes are shown with the spans.
        per_set: Spans of each trace at most.
    """
    shown = [each.field for each in conditions(query.spansets)] + list(query.selected)
    fields = [each for each in dict.fromkeys(shown) if each.scope != INTRINSIC]
    intrinsics = [
        each
        for each in dict.fromkeys(shown)
        if each.scope == INTRINSIC and each.name in {"status", "kind", "statusMessage"}
    ]
    traces = [_trace(trace, [*fields, *intrinsics], per_set) for trace in found.traces]
    metrics = {"inspectedTraces": found.inspected, "inspectedBytes": str(found.bytes)}
    # As in Tempo's answer with a trace of which not all was read.
    partial = {"status": "PARTIAL", "message": found.partial} if found.partial else {}
    jobs = {"completedJobs": 0 if partial else 1, "totalJobs": 1}
    return {"traces": traces, "metrics": metrics | jobs, **partial}


def _trace(trace: FoundTrace, fields: Sequence[Field], per_set: int) -> dict[str, Any]:
    facts = trace.facts
    ordered = sorted(trace.spans, key=lambda each: each.span.start_time_unix_nano)
    spanset = {
        "spans": [_span(each, fields) for each in ordered[:per_set]],
        "matched": len(ordered),
    }
    return {
        "traceID": trace.trace_id.hex(),
        "rootServiceName": facts.root_service or NO_ROOT,
        "rootTraceName": facts.root_name,
        "startTimeUnixNano": str(facts.start),
        # A clock that was set back may let a span end before it began.
        "durationMs": max(0, facts.end - facts.start) // _MILLISECOND,
        "spanSet": spanset,
        "spanSets": [spanset],
        "serviceStats": {
            service: {"spanCount": spans} | ({"errorCount": errors} if errors else {})
            for service, (spans, errors) in facts.services.items()
        },
    }


def _span(found: StoredSpan, fields: Sequence[Field]) -> dict[str, Any]:
    attributes = []
    for each in fields:
        values = found.values(each)
        if values:
            one = _value(values[0])
            whole = one if len(values) == 1 else {"arrayValue": {"values": [*map(_value, values)]}}
            attributes.append({"key": each.name, "value": whole})
    return {
        "spanID": found.span.span_id.hex(),
        "name": found.span.name,
        "startTimeUnixNano": str(found.span.start_time_unix_nano),
        "durationNanos": str(max(0, found.duration)),
        "attributes": attributes,
    }


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": str(value)}


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > _SEVEN_BITS:
        found.append(number & _SEVEN_BITS | _SEVEN_BITS + 1)
        number >>= 7
    found.append(number)
    return bytes(found)
