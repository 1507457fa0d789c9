"""Exporters of spans, and a flush of them that takes a limited time."""

import atexit
import logging
import threading
import weakref
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol

from opentelemetry.sdk.trace.export import SpanExporter

from vitals.tracing.environment import (
    GRPC,
    HTTP,
    OTLP,
    PROTOCOL,
    TRACES_PATH,
    TraceSettings,
    traces_endpoint,
)

FLUSH_SECONDS = 2.5
"""How long the end of the service waits for the last spans, whatever the collector does."""

_HTTP_EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_GRPC_EXPORTER = "opentelemetry.exporter.otlp.proto.grpc.trace_exporter"
_log = logging.getLogger(__name__)


def make_exporters(settings: TraceSettings) -> list[SpanExporter]:
    """Create the exporters; one that cannot be created is logged and left out."""
    made: list[SpanExporter] = []
    for name in settings.exporters:
        try:
            exporter = _otlp(settings) if name == OTLP else _by_entry_point(name)
        except Exception as error:  # noqa: BLE001  # a wrong certificate, header or option
            _log.warning("traces: the exporter %s does not start: %s", name, error)
            continue
        if exporter is not None:
            made.append(exporter)
    return made


def _otlp(settings: TraceSettings) -> SpanExporter | None:
    made: SpanExporter
    if settings.protocol == GRPC:
        try:
            exporter = import_module(_GRPC_EXPORTER).OTLPSpanExporter
        except ImportError:
            _log.warning(
                "traces are not exported: %s is grpc, and grpcio is not installed. Install "
                "opentelemetry-exporter-otlp-proto-grpc, or set %s=%s and the endpoint to the "
                "collector's HTTP port (usually 4318)",
                PROTOCOL,
                PROTOCOL,
                HTTP,
            )
            return None
        endpoint = settings.endpoint
        made = (
            exporter(endpoint=endpoint.rstrip("/").removesuffix(TRACES_PATH))
            if endpoint
            else exporter()
        )
        return made
    if settings.protocol != HTTP:
        _log.warning(
            "traces: %s=%s is not supported, %s is used", PROTOCOL, settings.protocol, HTTP
        )
    made = import_module(_HTTP_EXPORTER).OTLPSpanExporter(
        endpoint=traces_endpoint(settings.endpoint)
    )
    return made


def _by_entry_point(name: str) -> SpanExporter | None:
    for found in entry_points(group="opentelemetry_traces_exporter", name=name):
        made: SpanExporter = found.load()()
        return made
    _log.warning("traces: no exporter named %s is installed", name)
    return None


def exports_to(processors: Sequence[Any], endpoint: str) -> bool:
    """Whether one of the span processors exports to this endpoint already."""
    for processor in processors:
        exporter = getattr(processor, "span_exporter", None)
        exporter = getattr(exporter, "wrapped", exporter)
        if str(getattr(exporter, "_endpoint", "")).rstrip("/") == endpoint.rstrip("/"):
            return True
    return False


class Flushable(Protocol):
    """A span processor, or a provider of the SDK."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export pending spans."""


class BoundedFlush:
    """Flushes span processors in a thread of its own, so that callers wait for a bounded time.

    An exporter may take far longer than its timeout: it retries, exports batch after batch, and a
    timeout of HTTP starts anew with every byte that arrives. At the end of the process, when no
    thread can be started any more, the one that waits here flushes what was not flushed before.
    """

    def __init__(self) -> None:
        self.processors: list[Flushable] = []
        self.flushed = False
        self._thread: threading.Thread | None = None
        _FLUSHES.add(self)
        _register_at_exit()

    def add(self, processor: Flushable) -> None:
        """Flush this processor or provider too."""
        if processor not in self.processors:
            self.processors.append(processor)
        self._start()

    def __call__(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Flush.

        Args:
            seconds: How long to wait.

        Returns:
            Whether all was exported, or failed, in time.
        """
        self.flushed = True
        if not self.processors or not self._start():
            return not self.processors
        self._done.clear()
        self._asked.set()
        return self._done.wait(seconds)

    def _start(self) -> bool:
        """Start the thread, unless it runs; a forked child has to start its own."""
        if self._thread is not None and self._thread.is_alive():
            return True
        self._asked, self._done = threading.Event(), threading.Event()
        weakref.finalize(self, self._asked.set)  # ends the thread
        self._thread = threading.Thread(
            target=_flush_when_asked,
            args=(weakref.ref(self), self._asked, self._done),
            name="vitals traces",
            daemon=True,
        )
        try:
            self._thread.start()
        except RuntimeError:  # no more threads, or the interpreter shuts down
            self._thread = None
        return self._thread is not None


def _flush_when_asked(
    owner: "weakref.ref[BoundedFlush]", asked: threading.Event, done: threading.Event
) -> None:
    while True:
        asked.wait()
        asked.clear()
        flush = owner()
        if flush is None:
            return
        for processor in flush.processors:
            try:
                processor.force_flush()
            except Exception:  # noqa: BLE001  # the exporter's, logged by it
                _log.debug("traces: a flush failed", exc_info=True)
        del flush
        done.set()


_FLUSHES: "weakref.WeakSet[BoundedFlush]" = weakref.WeakSet()


@cache
def _register_at_exit() -> None:
    """Register once, and not by the import alone."""
    atexit.register(_flush_at_exit)


def _flush_at_exit() -> None:
    """Export the last spans of services whose lifespan did not end: mounted ones, scripts."""
    for flush in list(_FLUSHES):
        if not flush.flushed:
            flush()
