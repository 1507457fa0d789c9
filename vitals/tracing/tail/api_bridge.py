"""Bridge to OpenTelemetry's API: spans of the host's own become parts of the kit's records.

``trace.get_tracer(...).start_as_current_span(...)`` and instrumentations of other libraries record
by the global provider. Where the host has none, this one is it; it needs the API package only.
Imported when the process has imported that.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import time_ns
from types import TracebackType
from typing import Any

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    TracerProvider,
    use_span,
)
from opentelemetry.util.types import AttributeValue

from vitals.asgi.request_context import error_type_of
from vitals.asgi.trace_record import (
    ACTIVE,
    INTERNAL,
    SERVER,
    ActiveSpan,
    Bridges,
    Details,
    Event,
    TraceRecord,
    new_id,
)
from vitals.errors import fingerprint_of
from vitals.tracing.tail.api_loading import current_sampler
from vitals.tracing.tail.exceptions import exception_event

MAX_ATTRIBUTES, MAX_EVENTS = 128, 128
"""Of one span; further ones are left out."""


class RecordSpan(trace.Span):
    """A span of a record, as OpenTelemetry's API has it.

    Args:
        record: The record.
        span_id: Its id.
        name: Its name.
        parent_id: Its parent's id; 0 for the root.
        kind: Its kind.
        scope: The tracer's name; empty for a span of the kit's, which ends by itself.
        started: When it began, in nanoseconds since 1970; None for now.
    """

    # Defaults are class attributes: most spans of the kit's get nothing of the host's.
    _attributes: "dict[str, Any] | None" = None
    _events: "tuple[Event, ...]" = ()
    _links: tuple[tuple[int, int], ...] = ()
    _status: Status | None = None
    _error_type = ""
    _ended = False
    _context: SpanContext | None = None

    def __init__(
        self,
        record: TraceRecord,
        span_id: int,
        name: str,
        *,
        parent_id: int = 0,
        kind: SpanKind = SpanKind.INTERNAL,
        scope: str = "",
        started: int | None = None,
    ) -> None:
        self.record = record
        self.span_id = span_id
        self.active = record, span_id
        self.name = name
        self.kind = kind
        self._parent_id = parent_id
        self._scope = scope
        self._started = started or time_ns()

    def get_span_context(self) -> SpanContext:
        """Its context."""
        if self._context is None:
            flags = TraceFlags(self.record.sampled)
            self._context = SpanContext(
                self.record.trace_id, self.span_id, is_remote=False, trace_flags=flags
            )
        return self._context

    def is_recording(self) -> bool:
        """Whether it has not ended: whether it is kept is decided later."""
        return not self._ended if self._scope else not self.record.ended

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Set an attribute."""
        attributes = self._attributes
        if attributes is None:
            attributes = self._attributes = {}
        if key in attributes or len(attributes) < MAX_ATTRIBUTES:
            attributes[key] = value
            if not self._scope and self.span_id == self.record.span_id:
                self.record.more = {**(self.record.more or {}), key: value}

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set attributes."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        """Add an event."""
        if not self._scope:
            self.record.add_event(name, dict(attributes or {}))
        elif len(self._events) < MAX_EVENTS:
            event = Event(timestamp or time_ns(), name, dict(attributes or {}))
            self._events = (*self._events, event)

    def add_link(self, context: SpanContext, attributes: Any = None) -> None:  # noqa: ARG002
        """Link it to another span."""
        if context.is_valid and len(self._links) < MAX_EVENTS:
            self._links = (*self._links, (context.trace_id, context.span_id))

    def update_name(self, name: str) -> None:
        """Rename it; the server span keeps the name of its route."""
        self.name = name

    def set_status(self, status: Any, description: str | None = None) -> None:
        """Set its status; "ok" is final."""
        if self._status is None or self._status.status_code is not StatusCode.OK:
            self._status = status if isinstance(status, Status) else Status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Any = None,  # noqa: ARG002
        timestamp: int | None = None,  # noqa: ARG002
        escaped: bool = False,  # noqa: ARG002, FBT001, FBT002  # the API's signature
    ) -> None:
        """Add the event of an exception."""
        self._error_type = error_type_of(exception)
        event = exception_event(exception, fingerprint_of(exception))
        if self._scope:
            self._events = (*self._events, event)
        else:
            self.record.add_event(event.name, event.attributes)

    def end(self, end_time: int | None = None) -> None:
        """End it."""
        if self._ended or not self._scope:
            return
        self._ended = True
        status = self._status
        failed = status is not None and status.status_code is StatusCode.ERROR
        error_type = (self._error_type or "_OTHER") if failed else ""
        description = "" if status is None else status.description or ""
        details = Details(self._events, self._links, self._scope, description, foreign=True)
        record, attributes = self.record, self._attributes or {}
        if self.span_id == record.span_id:
            record.name, record.kind, record.details = self.name, _number(self.kind), details
            record.attributes, record.error_type = attributes, error_type
            record.ended = end_time or time_ns()
            record.sampler.decide_root(record)
            return
        record.add(
            (
                self.name,
                _number(self.kind),
                self.span_id,
                self._parent_id,
                self._started,
                end_time or time_ns(),
                attributes,
                error_type,
                details,
            )
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception) and self.is_recording():
            self.record_exception(error)
            self.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
        super().__exit__(kind, error, traceback)


def _number(kind: SpanKind) -> int:
    """A kind's number in OTLP."""
    return int(kind.value) + 1


class RecordTracer(Tracer):
    """Starts spans of records.

    Args:
        scope: The tracer's name.
    """

    def __init__(self, scope: str) -> None:
        self._scope = scope or "unknown"

    def start_span(  # noqa: PLR0917  # the API's signature
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Any = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,  # noqa: ARG002, FBT001, FBT002  # the API's signature
        set_status_on_exception: bool = True,  # noqa: ARG002, FBT001, FBT002  # the same
    ) -> trace.Span:
        """Start a span below the current one; outside of a request it begins a record."""
        parent = trace.get_current_span(context)
        if isinstance(parent, RecordSpan):
            record, parent_id, span_id = parent.record, parent.span_id, new_id()
        else:
            sampler = current_sampler()
            if sampler is None:
                return trace.INVALID_SPAN
            above = parent.get_span_context()
            record = sampler.begin_root(_headers(above))
            record.parent_id = parent_id = above.span_id if above.is_valid else 0
            span_id, record.kind = record.span_id, _number(kind)
            record.started = start_time or record.started
        span = RecordSpan(
            record,
            span_id,
            name,
            parent_id=parent_id,
            kind=kind,
            scope=self._scope,
            started=start_time,
        )
        span.set_attributes(attributes or {})
        for link in links or ():
            span.add_link(link.context)
        return span

    @contextmanager
    def start_as_current_span(  # type: ignore[override]  # noqa: PLR0917  # the same
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Any = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,  # noqa: FBT001, FBT002  # the API's signature
        set_status_on_exception: bool = True,  # noqa: FBT001, FBT002  # the same
        end_on_exit: bool = True,  # noqa: FBT001, FBT002  # the same
    ) -> Iterator[trace.Span]:
        """Start a span and make it the current one."""
        span = self.start_span(name, context, kind, attributes, links, start_time)
        with use_span(
            span,
            end_on_exit=end_on_exit,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
        ):
            yield span


def _headers(above: SpanContext) -> list[tuple[bytes, bytes]]:
    if not above.is_valid:
        return []
    flags = int(above.trace_flags)
    return [(b"traceparent", f"00-{above.trace_id:032x}-{above.span_id:016x}-{flags:02x}".encode())]


class RecordProvider(TracerProvider):
    """Provider of tracers that record in the kit's records."""

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,  # noqa: ARG002
        schema_url: str | None = None,  # noqa: ARG002
        attributes: Any = None,  # noqa: ARG002
    ) -> Tracer:
        """A tracer."""
        return RecordTracer(instrumenting_module_name)


_KEY = next(iter(trace.set_span_in_context(trace.INVALID_SPAN, Context())))
"""The key of the current span in OpenTelemetry's context."""


class Connection:
    """The bridge (a ``Bridge``)."""

    def find(self) -> ActiveSpan | None:
        """The record and span that are current."""
        span = context_api.get_current().get(_KEY)
        if span.__class__ is not RecordSpan:
            return ACTIVE.get()
        found: ActiveSpan = span.active
        return found

    def enter(self, active: ActiveSpan, name: str) -> object:
        """Make a span current in OpenTelemetry's context."""
        record, span_id = active
        is_root = span_id == record.span_id
        kind = SpanKind.SERVER if is_root and record.kind == SERVER else SpanKind.INTERNAL
        span = RecordSpan(record, span_id, name, parent_id=record.parent_id, kind=kind)
        return context_api.attach(trace.set_span_in_context(span))

    def leave(self, token: Any) -> None:
        """End that."""
        context_api.detach(token)


def connect() -> None:
    """Make this the global provider."""
    trace.set_tracer_provider(RecordProvider())
    Bridges.current = Connection()


assert _number(SpanKind.INTERNAL) == INTERNAL  # noqa: S101  # OTLP's numbers follow the API's
