"""OpenTelemetry traces of one application: whose provider, and its export.

Where the host has a tracer provider, the kit's spans join the host's, and its provider, sampler,
exporter and propagators stay as they are. Where it has none, and an endpoint is set, the kit
creates one and makes it the global one, so that other instrumentations of the host are recorded.
This is decided when the application has started, because until then the host may set its own.

Spans of queries and cache operations come from the kit's probes, which time them anyway:
OpenTelemetry's SQLAlchemy instrumentation does not support SQLAlchemy 2.1.
"""

import logging
import os
import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import ProxyTracerProvider
from starlette.types import ASGIApp

from vitals.asgi.request_context import RequestContext
from vitals.redactor import Redactor
from vitals.tracing.background_spans import linked_span
from vitals.tracing.environment import (
    DEFAULT_RATIO,
    TraceSettings,
    samples_by_environment,
    traces_endpoint,
)
from vitals.tracing.exporters import BoundedFlush, exports_to, make_exporters
from vitals.tracing.fastapi_telemetry import fastapi_provider, stop_fastapi_spans
from vitals.tracing.operation_spans import SpanMaker
from vitals.tracing.server_spans import (
    Excluded,
    RequestSpans,
    host_middleware,
    is_kept,
)
from vitals.tracing.span_redaction import RedactingSpanExporter

PROCESS_ID = "process.pid"
BRIDGE = "vitals.tracing.tail.api_bridge"

_log = logging.getLogger(__name__)
_own_providers: "weakref.WeakSet[TracerProvider]" = weakref.WeakSet()


def host_provider() -> trace.TracerProvider | None:
    """The global provider, if the host has set one."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, ProxyTracerProvider) or provider in _own_providers:
        return None
    if type(provider).__module__ == BRIDGE:  # another application's of this process
        return None
    return provider


def current_trace() -> tuple[str, bool] | None:
    """The id of the current span's trace, and whether it is kept."""
    span = trace.get_current_span()
    context = span.get_span_context()
    return (f"{context.trace_id:032x}", is_kept(span)) if context.is_valid else None


class Tracing:
    """The traces of one application.

    Args:
        settings: Whether and where to export.
        resource: Returns the attributes of the service; called in the process that serves.
        redactor: Redacts every span before it is exported; a default one when None.

    Attributes:
        span: Creates spans of operations.
    """

    def __init__(
        self,
        settings: TraceSettings,
        resource: Callable[[], Mapping[str, str]],
        redactor: Redactor | None = None,
    ) -> None:
        self.span = SpanMaker()
        self._settings = settings
        self._resource = resource
        self._redactor = redactor or Redactor()
        self._flush = BoundedFlush()
        self._exporters: list[SpanExporter] | None = None
        self._own: TracerProvider | None = None
        RequestContext.current_trace = staticmethod(current_trace)

    @property
    def available(self) -> bool:
        """Whether spans can be recorded: the host has a provider, or there is an exporter."""
        return host_provider() is not None or bool(self._own_exporters())

    @property
    def provider(self) -> Any:
        """The host's provider, else the kit's."""
        return host_provider() or self._own_provider()

    @property
    def _exporter(self) -> SpanExporter | None:
        return next(iter(self._own_exporters()), None)

    def trace_requests(
        self, app: FastAPI, inner: ASGIApp, stack: ASGIApp, excluded: Excluded
    ) -> RequestSpans | None:
        """Decide whose provider is used, and trace the requests of an application.

        Args:
            app: The application.
            inner: The application with the middleware of all probes.
            stack: The application's own middleware stack, which is a part of it.
            excluded: Whether a request is not to be traced.

        Returns:
            What serves the requests; None where nothing is traced.
        """
        if self._settings.disabled:
            return None
        provider = host_provider()
        theirs: list[Any] = [provider, fastapi_provider(app)]
        theirs += [
            getattr(layer.tracer, "span_processor", None)  # none before there is a provider
            for layer in host_middleware(app, stack) or ()
        ]
        theirs = [each for each in theirs if each is not None]
        if self._settings.endpoint:
            for each in theirs:
                self._export_too(each)
        for each in theirs:
            if hasattr(each, "force_flush"):
                self._flush.add(each)  # a server stopped by a signal seldom runs exit handlers
        own = None
        if provider is None and self._own_exporters():
            own = self._own_provider()
            if isinstance(trace.get_tracer_provider(), ProxyTracerProvider):
                trace.set_tracer_provider(own)
        if not theirs and not isinstance(trace.get_tracer_provider(), ProxyTracerProvider):
            stop_fastapi_spans(app)  # only the kit's provider makes them possible
        if not theirs and own is None and current_trace() is None:
            return None
        return RequestSpans(app, inner, stack, excluded=excluded, provider=own)

    def _export_too(self, provider: Any) -> None:
        """Also export the host's spans to the endpoint given in code, unless the host does.

        Args:
            provider: A provider, or the processor of all spans of one.
        """
        processor = getattr(provider, "_active_span_processor", provider)
        address = traces_endpoint(self._settings.endpoint) or ""
        if not hasattr(processor, "add_span_processor"):
            return
        if not exports_to(getattr(processor, "_span_processors", ()), address):
            self._export(processor)

    def linked_span(self, name: str) -> AbstractContextManager[None]:
        """Make a span of a background task the current one, linked to its request's."""
        return linked_span(self.span.tracers.of, name)

    def shut_down(self) -> None:
        """Export pending spans, for a few seconds at most.

        Nothing is closed: the same application may start again, and the host's other spans may
        still come.
        """
        if not self._flush():
            _log.warning("traces: the last spans were not exported in time")

    def _own_exporters(self) -> list[SpanExporter]:
        if self._exporters is None:
            self._exporters = make_exporters(self._settings)
        return self._exporters

    def _own_provider(self) -> TracerProvider:
        if self._own is None:
            ratio = self._settings.ratio
            if ratio is None and not samples_by_environment():
                ratio = DEFAULT_RATIO
            self._own = TracerProvider(
                sampler=None if ratio is None else ParentBasedTraceIdRatio(ratio),
                resource=Resource.create({**self._resource(), PROCESS_ID: os.getpid()}),
                shutdown_on_exit=False,
            )
            _own_providers.add(self._own)
            self._export(self._own)
        return self._own

    def _export(self, provider: Any) -> None:
        for exporter in self._own_exporters():
            # Bounded: a queue of 2,048 spans, further ones are dropped; a thread exports them.
            processor = BatchSpanProcessor(RedactingSpanExporter(exporter, self._redactor))
            provider.add_span_processor(processor)
            self._flush.add(processor)
