"""Span exporter that redacts spans before another exporter sends them.

It runs in the export thread, so no request waits for it; what other libraries have added to a span
(a recorded exception, a header, a path) is redacted too.
"""

from collections.abc import Sequence

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanContext, Status

from vitals.redactor import Redactor
from vitals.tracing.attribute_redaction import OWN_TRACER, redact_attributes


class RedactingSpanExporter(SpanExporter):
    """Exports redacted copies of spans.

    Args:
        exporter: Sends them.
        redactor: Redacts them.

    Attributes:
        wrapped: The same exporter.
    """

    def __init__(self, exporter: SpanExporter, redactor: Redactor) -> None:
        self.wrapped = exporter
        self._redactor = redactor

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export spans."""
        return self.wrapped.export([self._redact(span) for span in spans])

    def shutdown(self) -> None:
        """Shut down the exporter."""
        self.wrapped.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export pending spans."""
        return self.wrapped.force_flush(timeout_millis)

    def _redact(self, span: ReadableSpan) -> ReadableSpan:
        scope = span.instrumentation_scope
        own = scope is not None and scope.name == OWN_TRACER
        return ReadableSpan(
            name=span.name if own else self._redactor.message(span.name),
            context=_without_state(span.context),
            parent=span.parent,
            resource=span.resource,
            attributes=span.attributes
            if own
            else redact_attributes(self._redactor, span.attributes or {}),
            events=[
                Event(each.name, self._redactor.attributes(each.attributes or {}), each.timestamp)
                for each in span.events
            ],
            links=[
                Link(each.context, self._redactor.attributes(each.attributes or {}))
                for each in span.links
            ],
            kind=span.kind,
            status=Status(
                span.status.status_code,
                span.status.description and self._redactor.status(span.status.description),
            ),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=scope,
        )


def _without_state(context: SpanContext | None) -> SpanContext | None:
    """A span's context without ``tracestate``, which the client controls."""
    if context is None or not context.trace_state:
        return context
    return SpanContext(context.trace_id, context.span_id, context.is_remote, context.trace_flags)
