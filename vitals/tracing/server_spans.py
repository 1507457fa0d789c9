"""Spans of requests: OpenTelemetry's FastAPI instrumentation, unless somebody else makes them.

Others may trace the requests of an application already: FastAPI itself (0.165 and later),
OpenTelemetry's instrumentation, a middleware around the application. Then the kit makes none of its
own, and only joins their traces.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from starlette.applications import Starlette
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitals.asgi.hooks import layers
from vitals.asgi.request_context import CURRENT
from vitals.tracing.background_spans import without_background_spans
from vitals.tracing.fastapi_telemetry import FASTAPI_TELEMETRY

ASGI_INSTRUMENTATION = "opentelemetry.instrumentation.asgi"
STABLE_NAMES = "OTEL_SEMCONV_STABILITY_OPT_IN"

_log = logging.getLogger(__name__)

Excluded = Callable[[Scope], bool]


def join(span: Span) -> None:
    """Set the trace of a span as the current request's."""
    request, context = CURRENT.get(), span.get_span_context()
    if request is not None and context.is_valid:
        request.span = span
        request.set_trace(f"{context.trace_id:032x}", sampled=is_kept(span))


def is_kept(span: Span) -> bool:
    """Whether a span is sampled, and by a provider that passes its spans on."""
    # A provider without processors, such as that of OTEL_TRACES_EXPORTER=none, only makes ids.
    processor = getattr(span, "_span_processor", None)
    processors = getattr(processor, "_span_processors", None)
    return span.get_span_context().trace_flags.sampled and (processors is None or bool(processors))


class RequestSpans:
    """ASGI application that traces the requests of an application, or joins what traces them.

    Args:
        fastapi: The application.
        inner: The application with the middleware of all probes.
        stack: The application's own middleware stack, which is a part of it.
        excluded: Whether a request is not to be traced.
        provider: The kit's provider; None where the host's are used.

    Attributes:
        app: The same stack: FastAPI's own telemetry gives way to an instrumentation that it finds
            there. It does not find the kit's, which replaces its spans only.
    """

    def __init__(
        self,
        fastapi: FastAPI,
        inner: ASGIApp,
        stack: ASGIApp,
        *,
        excluded: Excluded,
        provider: trace.TracerProvider | None,
    ) -> None:
        self.app = stack
        self._inner = inner
        self._stack = stack
        self._excluded = excluded
        self._provider = provider
        self._with_span: ASGIApp | None = None
        self._serve: ASGIApp = self._trace
        found = host_middleware(fastapi, stack)
        if found:
            _call_when_started(found[0], join)
            self._serve = inner
        elif found is not None:
            self._serve = self._join_at_response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await self._serve(scope, receive, send)

    async def _trace(self, scope: Scope, receive: Receive, send: Send) -> None:
        span = surrounding_span()
        if span is not None:
            join(span)
        elif not self._excluded(scope) and scope.get(FASTAPI_TELEMETRY, True) is not None:
            scope.setdefault(FASTAPI_TELEMETRY, None)  # mounted applications add no spans
            return await (self._with_span or self._add_spans())(scope, receive, send)
        return await self._inner(scope, receive, send)

    async def _join_at_response(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def joined_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                join(trace.get_current_span())
            await send(message)

        await self._inner(scope, receive, joined_send)

    def _add_spans(self) -> ASGIApp:
        try:
            made = instrumented(self._inner, self._stack, self._provider)
        except Exception as error:  # noqa: BLE001  # not installed, or of an unknown version
            _log.warning(
                "traces: requests have no spans, because "
                "opentelemetry-instrumentation-fastapi does not start: %s",
                error,
            )
            made = self._serve = self._inner
        self._with_span = made
        return made


def host_middleware(app: FastAPI, stack: ASGIApp) -> list[Any] | None:
    """The layers by which the host traces requests with OpenTelemetry's instrumentation.

    None where it does not; empty where it does in a layer that cannot be seen.
    """
    instrumentation = sys.modules.get(ASGI_INSTRUMENTATION)
    if instrumentation is None:
        return None
    kind = getattr(instrumentation, "OpenTelemetryMiddleware", None)
    if kind is None:
        return None
    if found := [layer for layer in layers(stack) if isinstance(layer, kind)]:
        return found
    added = [middleware.cls for middleware in app.user_middleware]
    return [] if any(isinstance(cls, type) and issubclass(cls, kind) for cls in added) else None


def _call_when_started(middleware: Any, started: Callable[[Span], None]) -> None:
    """Call a function with each span that a middleware of OpenTelemetry's starts for a request."""
    theirs = middleware.server_request_hook

    def hook(span: Span, scope: Scope) -> None:
        started(span)
        if theirs is not None:
            theirs(span, scope)

    middleware.server_request_hook = hook


def surrounding_span() -> Span | None:
    """The span that somebody around this application has started for the current request."""
    span = trace.get_current_span()
    context = span.get_span_context()
    if not context.is_valid or context.is_remote:
        return None
    # A span that is not sampled has no kind. One of another kind is that of a client which calls
    # the application within its own process, as tests do.
    return span if getattr(span, "kind", SpanKind.SERVER) is SpanKind.SERVER else None


def instrumented(inner: ASGIApp, stack: ASGIApp, provider: trace.TracerProvider | None) -> ASGIApp:
    """Wrap an application in OpenTelemetry's FastAPI instrumentation.

    Args:
        inner: What to wrap.
        stack: The application's own middleware stack, which is a part of it.
        provider: Provider of the spans; None for the global one.
    """
    # Imported only where it is used: its packages are the ones most often pinned by a host.
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor  # noqa: PLC0415

    if isinstance(stack, ServerErrorMiddleware):
        # The outermost layer sends the response of an exception before raising it, which ends the
        # span; so the exception has to be recorded inside.
        stack.app = _ExceptionRecorder(stack.app)
    # The instrumentation changes the application that it is given, which serves already.
    substitute: Any = Starlette()
    substitute.build_middleware_stack = lambda: ServerErrorMiddleware(inner)
    with _stable_names(), without_background_spans():
        FastAPIInstrumentor.instrument_app(
            substitute,
            tracer_provider=provider,
            meter_provider=NoOpMeterProvider(),
            server_request_hook=lambda span, _scope: join(span),
            exclude_spans=["send", "receive"],
        )
        made: ASGIApp = substitute.build_middleware_stack()
        for layer, arguments, options in reversed(substitute.user_middleware):  # before 0.54
            made = layer(made, *arguments, **options)
    return made


@contextmanager
def _stable_names() -> Iterator[None]:
    """Name attributes by the stable conventions, but in the kit's own spans only.

    OpenTelemetry's instrumentations read the choice from the environment once per process. The
    host's choice, or its lack of one, must stay as it is.
    """
    try:
        from opentelemetry.instrumentation._semconv import (  # noqa: PLC0415
            _OpenTelemetrySemanticConventionStability as Stability,
        )
        from opentelemetry.instrumentation._semconv import (  # noqa: PLC0415
            _OpenTelemetryStabilitySignalType as SignalType,
        )
        from opentelemetry.instrumentation._semconv import (  # noqa: PLC0415
            _StabilityMode as Mode,
        )
    except ImportError:  # of another version: its own names
        yield
        return
    if os.environ.get(STABLE_NAMES):
        yield
        return
    Stability._initialize()  # type: ignore[no-untyped-call]  # noqa: SLF001
    chosen = Stability._OTEL_SEMCONV_STABILITY_SIGNAL_MAPPING  # noqa: SLF001
    Stability._OTEL_SEMCONV_STABILITY_SIGNAL_MAPPING = {  # noqa: SLF001
        **chosen,
        SignalType.HTTP: Mode.HTTP,
    }
    try:
        yield
    finally:
        Stability._OTEL_SEMCONV_STABILITY_SIGNAL_MAPPING = chosen  # noqa: SLF001


class _ExceptionRecorder:
    """Records exceptions of the application on the current span."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            span = trace.get_current_span()
            if span.is_recording():
                span.record_exception(error)
                span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
            raise
