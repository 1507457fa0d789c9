"""Spans of operations that probes have timed: statements, cache commands."""

from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from vitals.tracing.background_spans import links_to_ended
from vitals.tracing.span_redaction import OWN_TRACER

MAX_TRACERS = 16
"""Providers of one process whose tracers are kept."""


class SpanMaker:
    """Creates spans as children of the current span, by the provider that made that one."""

    def __init__(self) -> None:
        self._tracers: dict[int, tuple[Any, Tracer]] = {}

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
        span = self.tracer_of(parent).start_span(
            name, kind=SpanKind.CLIENT, attributes=attributes, start_time=began, links=links
        )
        if error_type:
            span.set_attribute("error.type", error_type)
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def tracer_of(self, parent: Span) -> Tracer:
        """A tracer of the parent's provider, which need not be the global one.

        A span of the SDK does not name its provider, only the processors that it is sent to.
        """
        processor = getattr(parent, "_span_processor", None)
        held = self._tracers.get(id(processor))
        if held is None:
            held = processor, _provider_of(parent, processor).get_tracer(OWN_TRACER)
            if len(self._tracers) >= MAX_TRACERS:
                self._tracers.clear()
            self._tracers[id(processor)] = held
        return held[1]


def _provider_of(parent: Any, processor: Any) -> trace.TracerProvider:
    current = trace.get_tracer_provider()
    if processor is None or getattr(current, "_active_span_processor", None) is processor:
        return current
    return TracerProvider(
        sampler=getattr(parent, "_sampler", None),
        resource=parent.resource,
        active_span_processor=processor,
        span_limits=getattr(parent, "_limits", None),
        shutdown_on_exit=False,
    )
