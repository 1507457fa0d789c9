"""Probe of traces; OpenTelemetry is imported only where somebody traces.

A host may import and set up OpenTelemetry until its application has started, and even later.
"""

import logging
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitals.asgi.hooks import layers
from vitals.asgi.root_path import below_root
from vitals.asgi.trace_record import Bridges
from vitals.host import Host
from vitals.tracing.environment import Tracer, trace_settings
from vitals.tracing.fastapi_telemetry import fastapi_provider

if TYPE_CHECKING:
    from vitals.redactor import Redactor
    from vitals.tracing.setup import Tracing
    from vitals.tracing.tail.setup import TailTracing

SDK = "opentelemetry.sdk.trace"
ASGI_INSTRUMENTATION = "opentelemetry.instrumentation.asgi"
BRIDGE = "vitals.tracing.tail.api_bridge"
UNTRACED_REQUESTS = 100
"""Requests without a span after which it is assumed that none will have one."""

_log = logging.getLogger(__name__)


class OperationSpans:
    """Creates spans of operations once it is known that somebody traces (a ``MakeSpan``).

    Attributes:
        enabled: Whether somebody does.
    """

    def __init__(self) -> None:
        self.enabled = False
        self.make: Callable[[str, int, str, Mapping[str, Any]], None] | None = None

    def __call__(
        self, name: str, began: int, error_type: str, attributes: Mapping[str, Any]
    ) -> None:
        """Create a span that began at a Unix time in nanoseconds and ends now."""
        if self.make is not None:
            self.make(name, began, error_type, attributes)


class TracingProbe:
    """Traces requests and operations, or joins the traces of the host.

    Args:
        resource: Returns the attributes of the service; called in the process that serves.
        redactor: Makes what redacts every span that the kit exports.
        endpoint: Where to export to; None leaves it to the environment.
        ratio: Sampling ratio of traces without a parent (0 to 1); None leaves it to the
            environment.
        tracer: What makes the spans where the host has no OpenTelemetry.
        keeps_bad: Whether the kit's own records keep all that is bad besides.

    Attributes:
        spans: Creates spans of operations.
    """

    def __init__(
        self,
        resource: Callable[[], Mapping[str, str]],
        redactor: "Callable[[], Redactor]",
        *,
        endpoint: str | None = None,
        ratio: float | None = None,
        tracer: Tracer = "vitals",
        keeps_bad: bool = True,
    ) -> None:
        self.spans = OperationSpans()
        self._settings = trace_settings(endpoint, ratio, tracer)
        self._keeps_bad = keeps_bad
        self._tail: TailTracing | None = None
        self._host: Host | None = None
        self._resource = resource
        self._redactor = redactor
        self._tracing: Tracing | None = None
        self._failed = False

    def attach(self, host: Host) -> None:
        """Trace requests outside of all other middleware."""
        self._host = host
        host.make_span = self.spans
        host.linked_span = self._linked_span
        if not self._settings.disabled:
            host.trace_requests = lambda app, stack: TracedApp(app, stack, host, self)
            _exclude_from_fastapi(host)

    def _linked_span(self, name: str) -> AbstractContextManager[Any]:
        """Make a span of a background task the current one, if somebody traces."""
        tracing = self._tail or self._tracing
        return tracing.linked_span(name) if tracing and self.spans.enabled else nullcontext()

    @property
    def tracing(self) -> "Tracing | TailTracing | None":
        """The traces of the application; None while there are none."""
        if self._tracing is None and not _has_provider() and (tail := self.load_tail()) is not None:
            return tail
        tracing = self.load()
        return tracing if tracing is not None and tracing.available else None

    def load_tail(self) -> "TailTracing | None":
        """The traces as the kit's own records; None where these are not what is asked for."""
        if self._tail is None and self._host is not None and self._settings.fits_records:
            try:
                setup = import_module("vitals.tracing.tail.setup")
                self._tail = setup.TailTracing(
                    self._settings,
                    self._host,
                    self._resource,
                    self._redactor(),
                    keeps_bad=self._keeps_bad,
                )
            except ImportError as error:
                self._give_up(error)
            except ValueError as error:  # an endpoint that is none
                self._settings = replace(self._settings, exporters=())
                _log.warning("traces are off: %s", error)
        return self._tail

    @property
    def running(self) -> "Tracing | TailTracing | None":
        """What has spans that wait to be exported."""
        return self._tail or self.load()

    def _give_up(self, error: ImportError) -> None:
        self._settings = replace(self._settings, exporters=())
        _log.warning(
            "traces are off, because OpenTelemetry is not installed (%s): "
            "pip install 'vitals-kit[otel]'",
            error,
        )

    def load(self) -> "Tracing | None":
        """Import OpenTelemetry, if somebody traces."""
        if self._tracing is None and not self._failed and self._wanted():
            try:
                setup = import_module("vitals.tracing.setup")
                self._tracing = setup.Tracing(self._settings, self._resource, self._redactor())
            except ImportError as error:
                self._failed = True
                if self._settings.exporters:
                    _log.warning(
                        "traces are off, because OpenTelemetry is not installed (%s): "
                        "pip install 'vitals-kit[otel]'",
                        error,
                    )
            except Exception as error:  # noqa: BLE001  # such as a propagator that is not installed
                self._failed = True
                _log.warning("traces are off, because OpenTelemetry does not start: %s", error)
        return self._tracing

    def _wanted(self) -> bool:
        return not self._settings.disabled and (bool(self._settings.exporters) or _is_loaded())


def _is_loaded() -> bool:
    """Whether anybody in this process can record spans."""
    return SDK in sys.modules or _has_provider()


def _has_provider() -> bool:
    """Whether the host has set a tracer provider."""
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None:
        return False
    provider = api.get_tracer_provider()
    own = type(provider).__module__ == BRIDGE
    return not own and not isinstance(provider, api.ProxyTracerProvider)


class TracedApp:
    """ASGI middleware that finds out who traces requests, when the application has started.

    It stands outside of all middleware but the HTTP probe, so that each log line of a request can
    name its trace. Where no request is traced, it takes itself out of the middleware stack, so that
    requests pay nothing, and looks at one request again from time to time.

    Args:
        inner: The application with the middleware of all probes.
        stack: The application's own middleware stack, which is a part of it.
        host: The application.
        probe: Loads OpenTelemetry.
    """

    def __init__(self, inner: ASGIApp, stack: ASGIApp, host: Host, probe: TracingProbe) -> None:
        self.app = inner
        self._inner = inner
        self._stack = stack
        self._host = host
        self._probe = probe
        self._decided = False
        self._untraced_left = UNTRACED_REQUESTS
        self._outer: Any = None
        host.meter.before_scrape(self._look_again)
        if _has_provider() or Bridges.current is not None:
            # It is final, because a provider is set only once. FastAPI's own telemetry sees it
            # before the first request, and looks for what replaces it.
            self._decide()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one connection; a coroutine around another would be resumed with each wait."""
        if scope["type"] == "lifespan":
            return self._inner(scope, receive, self._lifespan_send(send))
        if not self._decided:
            self._decide()
            if not self._decided:
                self._untraced_left -= 1
                if self._untraced_left <= 0 or not _is_loaded():
                    self._step_out()
        return self.app(scope, receive, send)

    def _lifespan_send(self, send: Send) -> Send:
        async def decide_and_flush(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete" and not self._decided:
                self._decide()
            elif message["type"] in {"lifespan.shutdown.complete", "lifespan.shutdown.failed"}:
                await self._flush()
            await send(message)

        return decide_and_flush

    def _decide(self) -> None:
        found: Any = None
        try:
            tail = None if self._host_traces() else self._probe.load_tail()
            tracing = self._probe.load() if tail is None else None
            if tail is not None:
                found = tail.trace_requests(self._inner)
                self._probe.spans.make = tail.span
            elif tracing is not None:
                found = tracing.trace_requests(
                    self._host.app, self._inner, self._stack, self._is_excluded
                )
                self._probe.spans.make = tracing.span
        except Exception:  # noqa: BLE001  # of OpenTelemetry's or the host's: requests go on
            _log.warning("traces: requests cannot be traced", exc_info=True)
            self._host.meter.dropped("tracing")
        self._decided = self._probe.spans.enabled = found is not None
        self.app = found or self._inner

    def _host_traces(self) -> bool:
        """Whether the host traces requests with OpenTelemetry, in whichever way."""
        if _has_provider() or fastapi_provider(self._host.app) is not None:
            return True
        if ASGI_INSTRUMENTATION not in sys.modules:
            return False
        server_spans = import_module("vitals.tracing.server_spans")
        return server_spans.host_middleware(self._host.app, self._stack) is not None

    def _step_out(self) -> None:
        for layer in layers(self._host.app.middleware_stack):
            if getattr(layer, "app", None) is self:
                layer.app, self._outer = self._inner, layer

    def _look_again(self) -> None:
        """Step in again for one request: the host may have set a provider meanwhile."""
        if self._outer is not None and _is_loaded():
            self._untraced_left = 1
            self._outer.app, self._outer = self, None

    def _is_excluded(self, scope: Scope) -> bool:
        path, paths = _path(scope), self._host.paths
        return path in paths.pages and paths.find(path, scope, self._inner) is not None

    async def _flush(self) -> None:
        tracing = self._probe.running
        if tracing is not None:
            self._host.record_cut()  # now rather than after the last export
            with anyio.CancelScope(shield=True):
                # Not the shared threads: all of them may be busy with requests that hang.
                await anyio.to_thread.run_sync(tracing.shut_down, limiter=anyio.CapacityLimiter(1))


def _path(scope: Scope) -> str:
    return below_root(scope.get("path", ""), scope.get("root_path", ""))


def _exclude_from_fastapi(host: Host) -> None:
    """Keep FastAPI's own telemetry (0.165 and later) from the requests that the kit answers."""
    config = getattr(host.app, "_telemetry", None)
    if not isinstance(config, dict) or "exclude" not in config:
        return
    theirs = config["exclude"]

    def is_excluded(scope: Scope) -> bool:
        path, paths = _path(scope), host.paths
        if paths.pages.get(path) and paths.find(path, scope, host.app) is not None:
            return True
        return theirs is not None and bool(theirs(scope))

    config["exclude"] = is_excluded
