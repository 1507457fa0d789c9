"""Spans of operations that probes have timed: statements, cache commands."""

from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from vitals.tracing.attribute_redaction import OWN_TRACER
from vitals.tracing.background_spans import links_to_ended
from vitals.tracing.provider_tracers import ProviderTracers


class SpanMaker:
    """Creates spans as children of the current span, by the provider that made that one."""

    def __init__(self) -> None:
        self.tracers = ProviderTracers(OWN_TRACER)

    def __call__(
        self, name: str, began: int, error_type: str, attributes: Mapping[str, Any]
    ) -> None:
        """Create a span (a ``MakeSpan``); outside of a recorded trace, none.

        Otherwise each query of a background job would be a trace of one span.
        """
        parent = trace.get_current_span()
        links = [] if parent.is_recording() else links_to_ended(parent)
        if not links and not parent.is_recording():
            return
        span = self.tracers.of(parent).start_span(
            name, kind=SpanKind.CLIENT, attributes=attributes, start_time=began, links=links
        )
        if error_type:
            span.set_attribute("error.type", error_type)
            span.set_status(Status(StatusCode.ERROR))
        span.end()
