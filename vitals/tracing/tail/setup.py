"""Traces of one application as the kit's own records, where the host has no OpenTelemetry.

Nothing of OpenTelemetry is imported but its messages, by the exporter's thread; see
`vitals.tracing.setup` for the other way.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from time import time_ns
from types import SimpleNamespace
from typing import Any

from starlette.types import ASGIApp

from vitals.asgi.request_context import error_type_of
from vitals.asgi.trace_record import (
    CLIENT,
    INTERNAL,
    Event,
    OpenSpan,
    active,
    active_span,
)
from vitals.errors import fingerprint_of
from vitals.host import Host
from vitals.http.streams import StreamMeter
from vitals.otlp.exporter import Exporter
from vitals.otlp.target import target_of
from vitals.redactor import Redactor
from vitals.tracing.environment import Share, TraceSettings
from vitals.tracing.fastapi_telemetry import has_telemetry, stop_fastapi_spans
from vitals.tracing.tail.api_loading import join_bridge
from vitals.tracing.tail.exceptions import exception_event
from vitals.tracing.tail.sampler import Item, Sampling, TailSampler
from vitals.tracing.tail.traced_requests import TracedRequests

PROCESS_ID = "process.pid"


class TailTracing:
    """The traces of one application.

    Args:
        settings: Whether and where to export.
        host: The application.
        resource: Returns the attributes of the service; called in the process that serves.
        redactor: Redacts what others have named, and exceptions.
        keeps_bad: Whether all that is bad is kept besides the share.

    Attributes:
        sampler: Decides which records are kept.
    """

    available = True

    def __init__(
        self,
        settings: TraceSettings,
        host: Host,
        resource: Callable[[], Mapping[str, str]],
        redactor: Redactor,
        *,
        keeps_bad: bool,
    ) -> None:
        if find_spec("opentelemetry.proto") is None:
            raise ModuleNotFoundError("No module named 'opentelemetry.proto'")
        target = target_of("traces", settings.endpoint)
        if target is None:
            raise ValueError("there is no endpoint")
        self._host = host
        self._make_resource = resource
        self._redactor = redactor
        self._encode: Any = None
        self._exporter: Exporter[Item] = Exporter(
            target, self._encoded, self._count, signal="traces"
        )
        share = settings.share or Share(0.0)
        self._sampling = Sampling(share.ratio, share.parent_based, keeps_bad)
        streams = StreamMeter(host.meter, host.long_polls)
        self.sampler = TailSampler(
            self._sampling,
            host.objectives,
            self._exporter.put,
            self._count,
            streams.is_long_poll,
        )

    @property
    def provider(self) -> Any:
        """The resource and the sampling, as a provider of OpenTelemetry has them."""
        resource = SimpleNamespace(attributes=self._resource())
        return SimpleNamespace(resource=resource, sampler=self._sampling)

    def trace_requests(self, inner: ASGIApp) -> TracedRequests:
        """Trace the requests of the application with the middleware of all probes."""
        app = self._host.app
        join_bridge(self.sampler)
        stop_fastapi_spans(app)
        return TracedRequests(
            inner, self.sampler, self._host.routes, has_telemetry=has_telemetry(app)
        )

    def span(self, name: str, began: int, error_type: str, attributes: Mapping[str, Any]) -> None:
        """Add a span of an operation (a ``MakeSpan``); outside of a record, none."""
        found = active_span()
        if found is not None:
            record, parent = found
            record.add((name, CLIENT, 0, parent, began, time_ns(), attributes, error_type, None))

    def linked_span(self, name: str) -> AbstractContextManager[None]:
        """Make a span of a background task the current one, linked to its request's."""
        return _linked_span(name)

    def shut_down(self) -> bool:
        """Export what waits, for a few seconds at most; the application may start again."""
        return self._exporter.flush()

    def _encoded(self, items: Any) -> bytes:
        if self._encode is None:
            # Here, in the exporter's thread: importing protobuf takes longest.
            from vitals.tracing.tail.encoding import RecordEncoder  # noqa: PLC0415

            self._encode = RecordEncoder(self._resource(), self._redactor)
        body: bytes = self._encode(items)
        return body

    def _resource(self) -> dict[str, Any]:
        return {**self._make_resource(), PROCESS_ID: os.getpid()}

    def _count(self, reason: str, count: int) -> None:
        self._host.meter.dropped(reason, count)


@contextmanager
def _linked_span(name: str) -> Any:
    around = active_span()
    if around is None or around[1] in around[0].work:
        yield  # outside of a record; or the call is wrapped twice, by an instrumentation between
        return
    record = around[0]
    span = OpenSpan(around, name, INTERNAL, {})  # the encoder links what begins after the end
    record.work |= {span.id}
    error_type = ""
    events: tuple[Event, ...] = ()
    try:
        with active((record, span.id), name):
            yield
    except BaseException as error:
        error_type = error_type_of(error)
        if isinstance(error, Exception):
            events = (exception_event(error, fingerprint_of(error)),)
            record.work_failed = True
        raise
    finally:
        span.end({}, error_type, events)
