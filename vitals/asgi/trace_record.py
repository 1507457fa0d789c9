"""Trace of one request as plain records, which are held until it is decided whether they are kept.

A span is a tuple of a few facts, a tenth of the cost of an OpenTelemetry span; what is kept becomes
OTLP in the exporter's thread. Probes add spans to the record that is active where they run, see
``active_span``. `vitals.tracing.tail` begins records, decides on them and exports them.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from time import time_ns
from typing import Any, NamedTuple, Protocol

from vitals.random_numbers import RANDOM

FIRST_ROOM = 32
"""Spans that a record may hold without asking for more."""
MAX_EVENTS = 64
"""Events of one record; further ones are counted as dropped."""

MAX_EXEMPLARS = 8
"""Values of one record that wait for its decision."""

INTERNAL, SERVER, CLIENT = 1, 2, 3
"""Kinds of spans, by their numbers in OTLP."""


class Attributes(dict[str, Any]):
    """Attributes that many spans share, so that the exporter encodes them once.

    They do not change any more, and hold no values of users.

    Attributes:
        encoded: What the exporter has made of them.
    """

    __slots__ = ("encoded",)

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        super().__init__(attributes)
        self.encoded: dict[tuple[str, int, str], bytes] = {}


class Event(NamedTuple):
    """An event of a span.

    Attributes:
        time: When, in nanoseconds since 1970.
        name: Its name.
        attributes: Its attributes; a function makes them in the exporter's thread.
    """

    time: int
    name: str
    attributes: Mapping[str, Any] | Callable[[], Mapping[str, Any]]


class Details(NamedTuple):
    """What few spans have.

    Attributes:
        events: Its events.
        links: Trace id and span id of each span that it is linked to.
        scope: The name of the tracer; empty for the kit's.
        status: The description of its status.
        foreign: Whether its name and attributes are others' and have to be redacted.
    """

    events: tuple[Event, ...] = ()
    links: tuple[tuple[int, int], ...] = ()
    scope: str = ""
    status: str = ""
    foreign: bool = False


CallSite = tuple[Any, int, int]
"""The code object and line that sent a statement, and the rows it returned; None, 0 and -1 where
these are not known."""

Span = tuple[str, int, int, int, int, int, Mapping[str, Any], str, CallSite | Details | None]
"""Name, kind, span id (0 to have one made), parent's span id, start and end in nanoseconds since
1970, attributes, ``error.type``, and more."""


class TraceSampler(Protocol):
    """Decides which records are kept, and bounds what they hold."""

    def add(self, record: "TraceRecord", span: Span, /) -> None:
        """Add a span for which a record has no room, or that comes after its decision."""

    def decide_root(self, record: "TraceRecord", /) -> None:
        """Decide on a record whose root is a span of the host's own."""

    def decide(self, record: "TraceRecord", request: Any, seconds: float, /) -> bool:
        """Decide on the record of a finished request; whether it is kept."""

    def discard(self, record: "TraceRecord", /) -> None:
        """Let go of a record that is not kept."""

    def is_first(self, fingerprint: str, /) -> bool:
        """Whether a statement or an error is the first of its kind in this process."""

    def dropped(self, reason: str, count: int, /) -> None:
        """Count what was dropped."""


class Observed(Protocol):
    """A histogram that has counted a value."""

    def add_exemplar(self, value: float, trace_id: str, /) -> None:
        """Set the exemplar of the value's bucket, if it may be replaced."""


OPEN, KEPT, DISCARDED = 0, 1, 2


class TraceRecord:
    """The part of one trace that one request makes.

    Args:
        sampler: Decides on it.
        trace_id: The trace's id.
        started: When it began, in nanoseconds since 1970.

    Attributes:
        span_id: The id of its root, the server span.
        parent_id: The caller's span id; 0 without a caller.
        sampled: Whether it is kept whatever happens; sent on to other services.
        by_caller: Whether that is the caller's decision.
        name: The root's name.
        kind: The root's kind.
        ended: When the root ended; 0 before.
        attributes: The root's attributes; set with the decision.
        error_type: The root's ``error.type``.
        details: More of the root.
        events: The root's events.
        exemplars: Values that the trace becomes an exemplar of, if it is kept.
        spans: Its spans that have ended and are not exported yet.
        room: How many spans it may hold.
        state: ``OPEN``, ``KEPT`` or ``DISCARDED``.
        first_seen: Whether a statement or an error of it was the first of its kind.
        has_returned: Whether the application has returned, so that hardly more will come.
        work: Ids of the spans of its background tasks.
        work_failed: Whether a background task of it has failed.
        late: Spans that came after its decision.
        flushed: When spans were exported before its end.
        error_fingerprint: The fingerprint of its exception; empty without one.
        more: Attributes that the host has set on the root; None without any.
    """

    # Defaults are class attributes: a request pays only for what it changes.
    parent_id = 0
    sampled = False
    by_caller = False
    name = ""
    kind = SERVER
    ended = 0
    attributes: Mapping[str, Any] = {}  # never changed in place
    error_type = ""
    details: Details | None = None
    events: "list[Event] | None" = None
    exemplars: "list[tuple[Observed, float]] | None" = None
    room = FIRST_ROOM
    state = OPEN
    first_seen = False
    has_returned = False
    work: "frozenset[int]" = frozenset()
    work_failed = False
    late = 0
    error_fingerprint = ""
    more: dict[str, Any] | None = None

    def __init__(self, sampler: TraceSampler, trace_id: int, started: int) -> None:
        self.sampler = sampler
        self.trace_id = trace_id
        self.span_id = new_id()
        self.started = self.flushed = started
        self.spans: list[Span] = []

    def add(self, span: Span) -> None:
        """Add a span that has ended; thread-safe."""
        spans = self.spans
        if len(spans) < self.room:
            spans.append(span)
        else:
            self.sampler.add(self, span)

    def add_event(
        self, name: str, attributes: Mapping[str, Any] | Callable[[], Mapping[str, Any]]
    ) -> None:
        """Add an event to the server span, until the request ends; thread-safe.

        Args:
            name: Its name.
            attributes: Its attributes, which do not change any more; or what makes them.
        """
        events = self.events
        if events is None:
            events = self.events = []
        if self.state != OPEN or len(events) >= MAX_EVENTS:
            self.sampler.dropped("span_events", 1)
            return
        events.append(Event(time_ns(), name, attributes))

    def finish(self, request: Any, seconds: float) -> bool:
        """End the server span, and decide whether the record is kept; never raises.

        Args:
            request: The finished request.
            seconds: Its latency.
        """
        self.ended = time_ns()
        try:
            kept = self.sampler.decide(self, request, seconds)
            if kept and self.exemplars is not None:
                for observed, value in self.exemplars:
                    observed.add_exemplar(value, f"{self.trace_id:032x}")
        except Exception:  # noqa: BLE001  # measuring the request must go on
            self.sampler.dropped("tracing", 1)
            return False
        return kept

    def hold_exemplar(self, observed: "Observed", value: float) -> None:
        """Make the trace an exemplar of a value that was observed, if it is kept."""
        if self.exemplars is None:
            self.exemplars = []
        if len(self.exemplars) < MAX_EXEMPLARS:
            self.exemplars.append((observed, value))

    def traceparent(self, span_id: int) -> str:
        """The header that carries the context of a span of it."""
        return f"00-{self.trace_id:032x}-{span_id:016x}-0{self.sampled:d}"


ActiveSpan = tuple[TraceRecord, int]
"""A record, and the id of the span of it that is current."""

ACTIVE: ContextVar[ActiveSpan | None] = ContextVar("vitals_trace", default=None)
"""The record and span that are current; None outside of one."""


class Bridge(Protocol):
    """Connects records with spans of OpenTelemetry's API."""

    def find(self) -> ActiveSpan | None:
        """The record and span that are current by its context."""

    def enter(self, active: ActiveSpan, name: str, /) -> object:
        """Make a span current in its context too; returns a token."""

    def leave(self, token: Any, /) -> None:
        """End that."""


class Bridges:
    """The bridge to OpenTelemetry's API, where the process uses it.

    Attributes:
        current: The bridge; None without.
    """

    current: Bridge | None = None


def active_span() -> ActiveSpan | None:
    """The record and span to which what happens here belongs; None outside of one."""
    bridge = Bridges.current
    return ACTIVE.get() if bridge is None else bridge.find()


def current_ids() -> tuple[int, int] | None:
    """Trace id and span id of the current span, for log records; None outside of a record."""
    active = active_span()
    return None if active is None else (active[0].trace_id, active[1])


def new_id() -> int:
    """A random span id."""
    return RANDOM.getrandbits(64) or 1


class OpenSpan:
    """A span that has begun and not ended.

    Args:
        active: Its record and parent.
        name: Its name.
        kind: Its kind.
        attributes: Its attributes.
        details: More of it.

    Attributes:
        id: Its id.
        record: Its record.
    """

    __slots__ = ("_attributes", "_details", "_kind", "_name", "_parent", "_started", "id", "record")

    def __init__(
        self,
        active: ActiveSpan,
        name: str,
        kind: int,
        attributes: Mapping[str, Any],
        details: Details | None = None,
    ) -> None:
        self.record, self._parent = active
        self.id = new_id()
        self._name, self._kind = name, kind
        self._attributes = attributes
        self._details = details
        self._started = time_ns()

    def end(
        self,
        attributes: Mapping[str, Any],
        error_type: str = "",
        events: tuple[Event, ...] = (),
    ) -> None:
        """End it now; an error type that is not empty marks it as failed."""
        details = self._details
        if events:
            details = (details or Details())._replace(events=events)
        self.record.add(
            (
                self._name,
                self._kind,
                self.id,
                self._parent,
                self._started,
                time_ns(),
                {**self._attributes, **attributes} if attributes else self._attributes,
                error_type,
                details,
            )
        )


@contextmanager
def active(span: ActiveSpan, name: str) -> Iterator[None]:
    """Make a span the current one."""
    bridge = Bridges.current
    token = ACTIVE.set(span)
    entered = None if bridge is None else bridge.enter(span, name)
    try:
        yield
    finally:
        if bridge is not None:
            bridge.leave(entered)
        ACTIVE.reset(token)
