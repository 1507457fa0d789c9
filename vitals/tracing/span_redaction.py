"""Spans on their way out: an exporter hands over copies without secrets.

It runs in the thread that exports, so that no request waits for it; what others have put on a span
(an exception that was recorded, a header, a path) passes here too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanContext, Status

from vitals.redactor import Redactor

OWN = "vitals"
"""The name of the kit's tracer, whose spans hold no values."""

_PATHS = ("url.path", "http.target")
_ROUTE, _QUERY = "http.route", "url.query"


class RedactedSpans(SpanExporter):
    """Exports spans without secrets.

    Args:
        exporter: Sends them.
        redactor: Takes the secrets out.
    """

    def __init__(self, exporter: SpanExporter, redactor: Redactor) -> None:
        self._exporter = exporter
        self._redactor = redactor

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans."""
        return self._exporter.export([self._redact(span) for span in spans])

    def shutdown(self) -> None:
        """End the exporter."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits."""
        return self._exporter.force_flush(timeout_millis)

    def _redact(self, span: ReadableSpan) -> ReadableSpan:
        scope = span.instrumentation_scope
        own = scope is not None and scope.name == OWN
        return ReadableSpan(
            name=span.name if own else self._redactor.message(span.name),
            context=_without_state(span.context),
            parent=span.parent,
            resource=span.resource,
            attributes=span.attributes if own else self._attributes(span.attributes or {}),
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

    def _attributes(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Those of a span; of a path only its template, as a path may hold a token."""
        told = self._redactor.attributes(attributes)
        route = attributes.get(_ROUTE)
        for name in (*_PATHS, _QUERY):
            told.pop(name, None)
        if route is not None:
            told |= {name: route for name in _PATHS if name in attributes}
        return told


def _without_state(context: SpanContext | None) -> SpanContext | None:
    """A span's context without ``tracestate``, which the caller has written."""
    if context is None or not context.trace_state:
        return context
    return SpanContext(context.trace_id, context.span_id, context.is_remote, context.trace_flags)
