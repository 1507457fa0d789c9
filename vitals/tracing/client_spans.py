"""Spans of requests that the service sends, whose context the requests carry.

Only imported where the host or the kit has imported OpenTelemetry.
"""

from collections.abc import Mapping, MutableMapping

from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from vitals.tracing.provider_tracers import ProviderTracers

TRACER = "vitals"
"""The kit's tracer, whose spans contain no values and so are not redacted."""


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
    """Starts spans of outgoing requests, by the provider that made the span around them."""

    def __init__(self) -> None:
        self._tracers = ProviderTracers(TRACER)

    @staticmethod
    def is_within_trace() -> bool:
        """Whether there is a current trace, sampled or not."""
        return trace.get_current_span() is not trace.INVALID_SPAN

    def start(
        self, name: str, attributes: Mapping[str, str | int], headers: MutableMapping[str, str]
    ) -> ClientSpan | None:
        """Start a span below the current one, and add the headers that carry its context.

        Where the current trace is not sampled there is no span, and the headers carry the context
        of that trace. Outside of a trace there is neither.

        Args:
            name: The span's name.
            attributes: Its attributes.
            headers: Gets the headers.
        """
        parent = trace.get_current_span()
        if not parent.get_span_context().is_valid:
            return None
        if not parent.is_recording():
            propagate.inject(headers)
            return None
        tracer = self._tracers.of(parent)
        span = tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        propagate.inject(headers, trace.set_span_in_context(span))
        return ClientSpan(span)
