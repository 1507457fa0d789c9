"""Spans as they are stored: read, decoded, and compared with the conditions of a query."""

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, cast

import zstandard
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from stack.store.otlp.attributes import value_of, values_of
from stack.store.otlp.span_rows import KINDS, STATUSES
from stack.store.traces.traceql import Condition, Field, Filter

_MAX_CONTENT = 64_000_000
_decompressor = zstandard.ZstdDecompressor()


@dataclass(frozen=True)
class TraceFacts:
    """What is known of a whole trace.

    Attributes:
        start: Nanoseconds since 1970.
        end: The same.
        root_service: Service of the span without a parent; empty if it has not arrived.
        root_name: Its name.
        services: Spans and failed spans, by service.
    """

    start: int
    end: int
    root_service: str
    root_name: str
    services: dict[str, tuple[int, int]]


class StoredSpan:
    """One span of a trace.

    Args:
        span: The span.
        resource: Attributes of its resource.
        trace: Facts of its whole trace, asked for only where a query needs them.
    """

    __slots__ = ("_trace", "resource", "span")

    def __init__(
        self, span: Span, resource: dict[str, Any], trace: Callable[[], TraceFacts]
    ) -> None:
        self.span, self.resource, self._trace = span, resource, trace

    @property
    def duration(self) -> int:
        """Nanoseconds."""
        return max(0, self.span.end_time_unix_nano - self.span.start_time_unix_nano)

    def values(self, field: Field) -> list[Any]:
        """What it has of a field; nothing where it has none, several of an array or of events."""
        if field.scope == "intrinsic":
            return self._intrinsic(field.name)
        if field.scope == "event":
            found = [
                value_of(each.value)
                for event in self.span.events
                for each in event.attributes
                if each.key == field.name
            ]
        else:
            found = []
            if field.scope != "resource":
                name = field.name
                found = [value_of(each.value) for each in self.span.attributes if each.key == name]
            if not found and field.scope != "span" and field.name in self.resource:
                found = [self.resource[field.name]]
        return [each for one in found for each in (one if isinstance(one, list) else [one])]

    def fulfils(self, condition: Filter) -> bool:
        """Whether it fulfils a filter."""
        if not isinstance(condition, Condition):
            results = (self.fulfils(part) for part in condition.parts)
            return all(results) if condition.operator == "&&" else any(results)
        found = self.values(condition.field)
        if condition.value is None:
            return bool(found) == (condition.operator == "!=")
        if condition.operator in {"!=", "!~"}:
            return bool(found) and not any(_equals(each, condition) for each in found)
        return any(_holds(each, condition) for each in found)

    def _intrinsic(self, name: str) -> list[Any]:
        if name == "event:name":
            return [event.name for event in self.span.events]
        if read := _OF_SPANS.get(name):
            return [read(self.span)]
        if name == "duration":
            return [self.duration]
        return [_OF_TRACES[name](self._trace())]


@dataclass
class StoredChunk:
    """A row of spans.

    Attributes:
        trace_id: 16 bytes.
        start: Nanoseconds since 1970.
        end: The same.
        service: Its service.
        root: Name of the span without a parent, if it is here.
        counts: Spans, and failed spans.
        resource: The resource, encoded.
        content: The spans, compressed.
    """

    trace_id: bytes
    start: int
    end: int
    service: str
    root: str | None
    counts: tuple[int, int]
    resource: bytes
    content: bytes

    @cached_property
    def decoded(self) -> ResourceSpans:
        """The spans with their resource."""
        content = _decompressor.decompress(self.content, max_output_size=_MAX_CONTENT)
        group = ResourceSpans()
        group.ParseFromString(content)
        group.resource.ParseFromString(self.resource)
        return group

    def spans(self, trace: Callable[[], TraceFacts]) -> Iterator[StoredSpan]:
        """Its spans; `trace` says what is known of the whole trace."""
        resource = _resource_values(self.resource)
        for scoped in self.decoded.scope_spans:
            for span in scoped.spans:
                yield StoredSpan(span, resource, trace)


@lru_cache(maxsize=1_000)
def _resource_values(resource: bytes) -> dict[str, Any]:
    return values_of(Resource.FromString(resource).attributes)


def _status(span: Span) -> str:
    return STATUSES[span.status.code] if span.status.code < len(STATUSES) else STATUSES[0]


def _kind(span: Span) -> str:
    return KINDS[span.kind] if span.kind < len(KINDS) else KINDS[0]


_OF_SPANS: dict[str, Callable[[Span], Any]] = {
    "name": lambda span: span.name,
    "status": _status,
    "kind": _kind,
    "statusMessage": lambda span: span.status.message,
    "nestedSetParent": lambda span: 0 if span.parent_span_id else -1,
    "trace:id": lambda span: span.trace_id.hex(),
    "span:id": lambda span: span.span_id.hex(),
    "span:parentID": lambda span: span.parent_span_id.hex(),
}
_OF_TRACES: dict[str, Callable[[TraceFacts], Any]] = {
    "rootName": lambda trace: trace.root_name,
    "rootServiceName": lambda trace: trace.root_service,
    "traceDuration": lambda trace: trace.end - trace.start,
}
_ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def _equals(value: Any, condition: Condition) -> bool:
    if condition.operator == "!~":
        return isinstance(value, str) and cast("Callable[[str], bool]", condition.matches)(value)
    return _same(value, condition.value)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, str) != isinstance(other, str):
        return False
    return bool(one == other)


def _holds(value: Any, condition: Condition) -> bool:
    wanted = condition.value
    if condition.operator == "=":
        return _same(value, wanted)
    if condition.operator == "=~":
        return isinstance(value, str) and cast("Callable[[str], bool]", condition.matches)(value)
    numbers = all(isinstance(each, int | float) for each in (value, wanted))
    texts = all(isinstance(each, str) for each in (value, wanted))
    if isinstance(value, bool) or isinstance(wanted, bool) or not (numbers or texts):
        return False
    return bool(_ORDERS[condition.operator](value, wanted))
