"""OpenTelemetry traces, exported over OTLP; disabled without an endpoint.

The request's span comes from OpenTelemetry's FastAPI instrumentation, without its send and receive
spans. Spans of queries and cache operations come from the kit's probes, which time them anyway:
OpenTelemetry's SQLAlchemy instrumentation does not support SQLAlchemy 2.1.
"""

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import SpanKind, Status, StatusCode

from vitals.asgi.request_context import RequestContext
from vitals.redactor import Redactor
from vitals.tracing.background_spans import (
    linked_span,
    links_to_ended,
    without_background_spans,
)
from vitals.tracing.span_redaction import RedactingSpanExporter

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
TRACES_PATH = "/v1/traces"
STABLE_NAMES = "OTEL_SEMCONV_STABILITY_OPT_IN"

SHUTDOWN_TIMEOUT_MILLIS = 3_000


def traces_endpoint(endpoint: str | None) -> str | None:
    """The URL to export traces to, from the argument or the environment; None disables tracing.

    The environment variable for all signals is a base URL; the one for traces is a full URL and
    takes precedence (opentelemetry.io/docs/specs/otel/protocol/exporter).

    Args:
        endpoint: A base URL or a full URL.
    """
    base = endpoint or None
    if base is None and (address := os.environ.get(TRACES_ENDPOINT)):
        return address
    base = base or os.environ.get(ENDPOINT) or None
    return None if base is None else base.rstrip("/").removesuffix(TRACES_PATH) + TRACES_PATH


class Tracing:
    """Records traces of one application and exports them.

    Args:
        app: The application; its middleware stack must not have been built.
        address: The OTLP/HTTP URL, such as ``http://127.0.0.1:4318/v1/traces``.
        service_name: ``service.name`` of every span.
        version: ``service.version`` of every span.
        ratio: Sampling ratio of traces without a parent (0 to 1).
        exclude: Exact paths that are not traced.
        exporter: Used instead of the OTLP exporter.
        redactor: Redacts every span; a default one when None.
    """

    def __init__(
        self,
        app: FastAPI,
        *,
        address: str,
        service_name: str,
        version: str = "",
        ratio: float = 0.1,
        exclude: Sequence[str] = (),
        exporter: SpanExporter | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        os.environ.setdefault(STABLE_NAMES, "http")
        self.provider = TracerProvider(
            sampler=ParentBasedTraceIdRatio(ratio),
            resource=Resource.create({"service.name": service_name, "service.version": version}),
            shutdown_on_exit=False,
        )
        # Bounded: a queue of 2,048 spans, further ones are dropped; a thread exports them.
        self._exporter = RedactingSpanExporter(
            exporter or OTLPSpanExporter(endpoint=address), redactor or Redactor()
        )
        self.provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self.provider.get_tracer("vitals")
        with without_background_spans():
            FastAPIInstrumentor.instrument_app(
                app,
                tracer_provider=self.provider,
                meter_provider=NoOpMeterProvider(),
                excluded_urls=",".join(f"^[a-z]+://[^/]+{re.escape(path)}$" for path in exclude)
                or None,
                exclude_spans=["send", "receive"],
            )

    def join(self, request: RequestContext) -> None:
        """Set the trace of the current span as the request's."""
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            request.set_trace(f"{context.trace_id:032x}", sampled=context.trace_flags.sampled)

    def span(self, name: str, began: int, error_type: str, attributes: Mapping[str, str]) -> None:
        """Create a span of an operation that ends now (a ``MakeSpan``)."""
        parent = trace.get_current_span()
        links = [] if parent.is_recording() else links_to_ended(parent)
        if not links and not parent.is_recording():
            return
        span = self._tracer.start_span(
            name, kind=SpanKind.CLIENT, attributes=attributes, start_time=began, links=links
        )
        if error_type:
            span.set_attribute("error.type", error_type)
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def linked_span(self, name: str) -> AbstractContextManager[None]:
        """Make a span of a background task the current one, linked to its request's."""
        return linked_span(lambda _: self._tracer, name)

    def shut_down(self) -> None:
        """Export pending spans, for a few seconds at most, and shut down."""
        if not self.provider.force_flush(SHUTDOWN_TIMEOUT_MILLIS):
            self._exporter.shutdown()  # stops its retries, which the provider would wait for
        self.provider.shutdown()
