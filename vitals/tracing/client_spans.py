"""Spans of requests that the service sends, whose context the requests carry."""

from collections.abc import Mapping, MutableMapping

from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from vitals.asgi.request_context import OpenSpan


class ClientSpan:
    """A span of an outgoing request.

    Args:
        span: OpenTelemetry's.
    """

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    def end(self, attributes: Mapping[str, str | int], error_type: str) -> None:
        """End the span now; an error type that is not empty marks it as failed."""
        self._span.set_attributes(attributes)
        if error_type:
            self._span.set_attribute("error.type", error_type)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class ClientSpans:
    """Starts spans of outgoing requests (``start`` is a ``StartSpan``).

    Args:
        tracer: Creates them.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def start(
        self, name: str, attributes: Mapping[str, str | int], headers: MutableMapping[str, str]
    ) -> OpenSpan | None:
        """Start a span below the current one, and add the headers that carry its context."""
        parent = trace.get_current_span()
        if not parent.get_span_context().is_valid:
            return None
        if not parent.is_recording():
            propagate.inject(headers)
            return None
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        propagate.inject(headers, trace.set_span_in_context(span))
        return ClientSpan(span)
