"""Tail sampler: decides at the end of a request whether its trace is kept, and bounds what is held.

Kept are the requests that failed, broke the objective of their route, were N+1, or had the first
statement or error of its kind; besides these a steady share of each route, and what the caller has
sampled.
"""

from collections.abc import Callable, Iterable, Sequence
from threading import RLock
from time import time_ns
from typing import Any, NamedTuple

from vitals.asgi.request_context import SERVER_ERROR, TRACEPARENT, RequestContext
from vitals.asgi.route_template import UNMATCHED
from vitals.asgi.trace_record import (
    DISCARDED,
    FIRST_ROOM,
    KEPT,
    OPEN,
    Span,
    TraceRecord,
)
from vitals.objectives import Objectives, Slo
from vitals.random_numbers import RANDOM
from vitals.tracing.tail.exceptions import exception_event
from vitals.tracing.tail.server_attributes import KEPT as KEPT_ATTRIBUTE
from vitals.tracing.tail.server_attributes import server_attributes

MAX_SPANS = 1_000
"""Spans that one request may hold."""
MAX_HELD = 2_000
"""Requests in progress whose spans are held; of further ones only the server span is."""
MAX_MORE = 100_000
"""Spans that all requests together may hold beyond the first ones of each."""
MAX_LATE = 2_000
"""Spans of one request that come after its decision, such as those of a background task."""
LONG = 10_000_000_000
"""Nanoseconds after which what a stream or WebSocket holds may be exported before its end."""
MAX_SEEN = 5_000
"""Statements and errors that are remembered as seen; beyond these none is the first of its kind."""
MAX_ROUTES = 1_000
SPAN_SIZE, EVENT_SIZE = 400, 2_000
"""About the bytes of one."""

ERROR, OBJECTIVE, N_PLUS_ONE = "error", "objective", "n_plus_one"
FIRST_SEEN, SHARE, CALLER = "first_seen", "share", "caller"

_HEADER = b"traceparent"
_LOW = 2**64 - 1
_CLIENT_CLOSED, _NOT_ALLOWED = 499, 405

Item = tuple[TraceRecord, Sequence[Span], bool]
"""A record, spans of it, and whether its root is among them."""
Put = Callable[[Item, int], bool]
"""Queues an item, given about its bytes."""


class Sampling(NamedTuple):
    """What is kept besides all that is bad.

    Attributes:
        share: The steady share of each route, 0 to 1.
        honours_caller: Whether the caller's sampled flag decides where there is a caller.
        keeps_bad: Whether what is bad is kept at all.
    """

    share: float
    honours_caller: bool = True
    keeps_bad: bool = True


class TailSampler:
    """The tail sampler of one application (a ``TraceSampler``).

    Args:
        sampling: What is kept.
        objectives: The service's objectives.
        put: Queues what is kept.
        on_drop: Counts what is dropped, given a reason and a number.
        is_long_poll: Whether the requests of a route wait, and so have no latency.
    """

    def __init__(
        self,
        sampling: Sampling,
        objectives: Objectives,
        put: Put,
        on_drop: Callable[[str, int], None],
        is_long_poll: Callable[[str], bool],
    ) -> None:
        self._sampling = sampling
        self._bound = round(sampling.share * 2**64)
        self._keeps_bad = sampling.keeps_bad
        # The first of its kind is a sample, which a share of 0 asks not to take.
        self._keeps_first = sampling.keeps_bad and sampling.share > 0
        self._objectives = objectives
        self._put = put
        self.dropped = on_drop
        self._is_long_poll = is_long_poll
        self._held: set[TraceRecord] = set()
        self._more = 0
        self._lock = RLock()  # reentrant: a finalizer may send a statement meanwhile
        self._thresholds: dict[str, float] = {}
        self._credit: dict[str, float] = {}
        self._seen: set[str] = set()

    @property
    def held(self) -> int:
        """Requests in progress that are held."""
        return len(self._held)

    def begin(self, headers: Iterable[tuple[bytes, bytes]]) -> TraceRecord:
        """Begin the record of a request.

        Args:
            headers: Its headers.
        """
        found = None
        for name, value in headers:
            if name == _HEADER:
                found = value if TRACEPARENT.fullmatch(value) else None
                break
        if found is None:
            record = TraceRecord(self, RANDOM.getrandbits(128) or 1, time_ns())
        else:
            record = TraceRecord(self, int(found[3:35], 16), time_ns())
            record.parent_id = int(found[36:52], 16)
        if found is not None and self._sampling.honours_caller:
            record.sampled = record.by_caller = bool(int(found[53:55], 16) & 1)
        else:
            record.sampled = record.trace_id & _LOW < self._bound
        if len(self._held) < MAX_HELD:
            self._held.add(record)
        else:
            record.room = 0
        return record

    def begin_root(self, headers: Iterable[tuple[bytes, bytes]]) -> TraceRecord:
        """Begin the record of a span of the host's own, which may forget to end it."""
        record = self.begin(headers)
        self._held.discard(record)
        return record

    def is_first(self, fingerprint: str) -> bool:
        """Whether a statement or an error is the first of its kind in this process."""
        seen = self._seen
        if fingerprint in seen or len(seen) >= MAX_SEEN:
            return False
        seen.add(fingerprint)
        return True

    def add(self, record: TraceRecord, span: Span) -> None:
        """Add a span for which a record has no room, or that comes after its decision."""
        if record.state == KEPT:
            record.late += 1
            if record.late <= MAX_LATE:
                self._put((record, [span], False), SPAN_SIZE)
            else:
                self.dropped("spans", 1)
        elif record.state == OPEN:
            if not self._grow(record):
                self.dropped("spans", 1)
            elif record.state == OPEN:
                record.spans.append(span)

    def _grow(self, record: TraceRecord) -> bool:
        with self._lock:
            room = record.room
            if 0 < room < MAX_SPANS and self._more < MAX_MORE:
                record.room = min(2 * room, MAX_SPANS)
                self._more += record.room - room
                return True
            if room and record.sampled and time_ns() - record.flushed > LONG:
                spans, record.spans = record.spans, []
                record.flushed = time_ns()
                return self._put((record, spans, False), SPAN_SIZE * len(spans))
        return False

    def decide(self, record: TraceRecord, request: RequestContext, seconds: float) -> bool:
        """Decide on the record of a finished request; whether it is kept."""
        reasons = self._reasons(record, request, seconds)
        if not reasons:
            if record.has_returned:
                self.discard(record)
            return False
        route, status = request.route, request.status
        record.name = f"{request.method} {route}" if route else request.method
        if status >= SERVER_ERROR:
            record.error_type = request.error_type or str(status)
        else:
            record.error_type = request.error_type
        record.attributes = server_attributes(request, record.error_type, reasons)
        if request.error is not None:
            error, traceback = request.error
            record.error_fingerprint = request.error_fingerprint
            event = exception_event(error, request.error_fingerprint, traceback)
            record.events = [*(record.events or ()), event]
        self._keep(record)
        return True

    def decide_socket(
        self, record: TraceRecord, route: str, attributes: dict[str, Any], error_type: str
    ) -> None:
        """Decide on the record of a WebSocket that has ended."""
        record.ended = time_ns()
        reasons = []
        if self._keeps_bad and error_type:
            reasons.append(ERROR)
        if self._keeps_first and record.first_seen:
            reasons.append(FIRST_SEEN)
        if self._is_in_share(record, route):
            reasons.append(CALLER if record.by_caller else SHARE)
        if reasons:
            record.name, record.error_type = route or "WEBSOCKET", error_type
            record.attributes = {**attributes, KEPT_ATTRIBUTE: tuple(reasons)}
            self._keep(record)
        else:
            self.discard(record)

    def decide_root(self, record: TraceRecord) -> None:
        """Decide on a record whose root is a span of the host's own, outside of any request."""
        failed = self._keeps_bad and bool(record.error_type)
        first = self._keeps_first and record.first_seen
        if record.sampled or failed or first:
            reasons = [ERROR] if failed else [FIRST_SEEN] if first else []
            if record.sampled:
                reasons.append(SHARE)
            record.attributes = {**record.attributes, KEPT_ATTRIBUTE: tuple(reasons)}
            self._keep(record)
        else:
            self.discard(record)

    def returned(self, record: TraceRecord, request: RequestContext) -> None:
        """Note that the application has returned, so that hardly more will come."""
        record.has_returned = True
        if not record.ended or record.state != OPEN:
            return
        if record.work_failed and self._keeps_bad:
            record.name = f"{request.method} {request.route}".rstrip()
            record.attributes = server_attributes(request, "", [ERROR])
            self._keep(record)
        else:
            self.discard(record)

    def _reasons(self, record: TraceRecord, request: RequestContext, seconds: float) -> list[str]:
        reasons = []
        route = request.route
        if self._keeps_bad:
            if request.failed:
                reasons.append(ERROR)
            elif seconds > (self._thresholds.get(route) or self._threshold(route)) and (
                request.status not in {_CLIENT_CLOSED, _NOT_ALLOWED}
            ):
                reasons.append(OBJECTIVE)
            if request.n_plus_one:
                reasons.append(N_PLUS_ONE)
        if self._keeps_first and (record.first_seen or request.has_new_error):
            reasons.append(FIRST_SEEN)
        if self._is_in_share(record, route):
            reasons.append(CALLER if record.by_caller else SHARE)
        return reasons

    def _is_in_share(self, record: TraceRecord, route: str) -> bool:
        """Whether a record is sampled, or its route has had less than its share so far."""
        if record.by_caller:
            return True
        share = self._sampling.share
        if not share or (record.parent_id and self._sampling.honours_caller):
            return False
        if route not in self._credit and len(self._credit) >= MAX_ROUTES:
            route = UNMATCHED
        # The first request of a route, too: ids are random, and a rare route would have no trace.
        credit = self._credit[route] + share if route in self._credit else 1.0
        kept = record.sampled or credit >= 1.0
        self._credit[route] = credit - kept
        return kept

    def _threshold(self, route: str) -> float:
        within = self._objectives.of(Slo.LATENCY, route).within
        if route == UNMATCHED or not within or self._is_long_poll(route):
            within = float("inf")
        if len(self._thresholds) < MAX_ROUTES:
            self._thresholds[route] = within
        return within

    def _keep(self, record: TraceRecord) -> None:
        spans, record.spans = record.spans, []
        self._close(record, KEPT)
        size = SPAN_SIZE * (1 + len(spans)) + EVENT_SIZE * len(record.events or ())
        self._put((record, spans, True), size)

    def discard(self, record: TraceRecord) -> None:
        """Let go of a record that is not kept."""
        record.spans = []
        record.events = None
        self._close(record, DISCARDED)

    def _close(self, record: TraceRecord, state: int) -> None:
        record.state = state
        room, record.room = record.room, 0
        self._held.discard(record)
        if room > FIRST_ROOM:
            with self._lock:
                self._more -= room - FIRST_ROOM
