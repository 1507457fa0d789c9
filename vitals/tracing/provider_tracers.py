"""Tracers of the provider that made a span, which need not be the global one."""

from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span, Tracer

MAX_TRACERS = 16
"""Providers of one process whose tracers are kept."""


class ProviderTracers:
    """Finds tracers by the span below which they make others.

    Args:
        name: The tracers' name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._tracers: dict[int, tuple[Any, Tracer]] = {}

    def of(self, parent: Span) -> Tracer:
        """A tracer of the parent's provider.

        A span of the SDK does not name its provider, only the processors that it is sent to.
        """
        processor = getattr(parent, "_span_processor", None)
        held = self._tracers.get(id(processor))
        if held is None:
            held = processor, _provider_of(parent, processor).get_tracer(self._name)
            if len(self._tracers) >= MAX_TRACERS:
                self._tracers.clear()
            self._tracers[id(processor)] = held
        return held[1]


def _provider_of(parent: Any, processor: Any) -> trace.TracerProvider:
    current = trace.get_tracer_provider()
    if processor is None or getattr(current, "_active_span_processor", None) is processor:
        return current
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  # the parent is of the SDK

    return TracerProvider(
        sampler=getattr(parent, "_sampler", None),
        resource=parent.resource,
        active_span_processor=processor,
        span_limits=getattr(parent, "_limits", None),
        shutdown_on_exit=False,
    )
