"""Context of the current request, shared by all probes, logs and exemplars.

One object per request, in a context variable: the HTTP probe creates it, the query probe counts in
it, the logs quote it. Tasks and threads that a request starts share it. A task that outlives its
request keeps the trace id, because the request caused it, and nothing else.
"""

import re
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import MappingProxyType, TracebackType
from typing import Any, Protocol

from vitals.asgi.request_times import RequestTimes, Seconds
from vitals.asgi.trace_record import TraceRecord
from vitals.random_numbers import RANDOM

TRACEPARENT = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""https://www.w3.org/TR/trace-context/#traceparent-header, version 00."""

CLIENT_ERROR = 400
SERVER_ERROR = 500
CLIENT_DISCONNECTED = "client_disconnected"
"""The error type of a request whose client disconnected before the response was complete."""
SERVER_SHUTDOWN = "server_shutdown"
"""The error type of a request that the server cancelled before its response was complete."""


_NO_FAILURE = frozenset(("", CLIENT_DISCONNECTED, SERVER_SHUTDOWN))
EMPTY_SCOPE: Mapping[str, Any] = MappingProxyType({})
MIN_DURATION = 1e-9
"""Seconds; a duration above 0 marks a request as finished."""


class RequestContext:
    """Context of one request, filled while it is processed.

    Attributes:
        meter: The metrics of the application that serves it.
        http: The ASGI scope; empty once the request has finished.
        outer_root: Its ``root_path`` before the application saw the request.
        method: A method of RFC 9110, or ``_OTHER``.
        route: The route template, known once the request has finished.
        matched_route: The same, for log lines, once a line has been logged after the match.
        logged_app: What logs say of its application, once a line has been logged in it.
        status: The status sent; 499 if the client disconnected before the response was complete.
        error_type: ``error.type``; empty if the request succeeded.
        duration: Seconds to the last byte of the response; of a stream, to its first byte.
        queries: Database operations so far.
        outgoing: Outgoing HTTP requests so far.
        db_seconds: Seconds spent in them.
        pool_seconds: Seconds spent waiting for connections.
        times: Its phases and waits, until it has finished; None where they are not measured.
        parts: Seconds by part, see ``vitals.asgi.request_times``, once it has finished; or None.
        statements: The query probe's records of statements; None until there is one.
        body_capture: The captured bodies, where bodies are logged.
        blocks: The blocks of the event loop during the request that end with it, if there are any.
        n_plus_one: Whether an N+1 was found in it.
        trace: Its trace record, where the kit records traces itself; else None.
        span: Its span of OpenTelemetry's SDK, once the kit has joined it; else None.
        error: The exception that failed it, with its traceback, which Starlette removes; until it
            has finished.
        error_fingerprint: The fingerprint of that exception, or of the last one that was logged as
            an error; see ``vitals.errors``.
        error_fields: What a log record says of the exception that failed it; empty without one.
        has_new_error: Whether it had the first error of its fingerprint in this process.
        sampled: Whether the trace is recorded and kept, as far as the tracer knows: only such a
            trace may be an exemplar.
        current_trace: Returns the id of the current span's trace and whether it is sampled; None
            outside of a span. Tracing sets it for all requests.
        on_other_trace: Called with the id of a trace that is joined after another one was used: a
            host's instrumentation is inside of the kit's middleware.
    """

    # Defaults are class attributes: a request pays only for what it changes.
    meter: Any = None
    outer_root = ""
    route = ""
    matched_route = ""
    logged_app: Any = None
    status = 0
    error_type = ""
    duration = 0.0
    queries = 0
    outgoing = 0
    db_seconds = 0.0
    pool_seconds = 0.0
    times: RequestTimes | None = None
    parts: Seconds | None = None
    statements: Any = None
    body_capture: Any = None
    blocks: Any = None
    n_plus_one = False
    trace: TraceRecord | None = None
    span: Any = None
    error: tuple[BaseException, TracebackType | None] | None = None
    error_fingerprint = ""
    error_fields: Mapping[str, Any] = EMPTY_SCOPE
    has_new_error = False
    sampled = False
    current_trace: Callable[[], tuple[str, bool] | None] = staticmethod(lambda: None)
    on_other_trace: Callable[[str], None] = staticmethod(lambda _: None)
    _trace_id = ""

    def __init__(self, http: Any, method: str) -> None:
        self.http = http
        self.method = method

    @property
    def failed(self) -> bool:
        """Whether the service failed the request, as opposed to a client error or disconnect."""
        return self.status >= SERVER_ERROR or self.error_type not in _NO_FAILURE

    def set_trace(self, trace_id: str, *, sampled: bool) -> None:
        """Use the trace that a tracer has started or joined for this request."""
        if self._trace_id and self._trace_id != trace_id:
            self.on_other_trace(trace_id)
        self._trace_id = trace_id
        self.sampled = sampled

    def trace_id(self) -> str:
        """The trace id (32 hex digits): the tracer's, else the caller's, else a generated one."""
        if not self._trace_id:
            if self.trace is not None:
                self._trace_id = f"{self.trace.trace_id:032x}"
            elif (found := self.current_trace()) is not None:
                self._trace_id, self.sampled = found
            else:
                self._trace_id = _incoming_trace_id(self.http) or _generated_trace_id()
        return self._trace_id

    def release(self) -> None:
        """Release what the request holds: a task that outlives it keeps only its trace id."""
        if self.trace is None:
            self._trace_id = self._trace_id or _incoming_trace_id(self.http)
        elif not self.trace.ended:  # recording it has failed
            self.trace.sampler.discard(self.trace)
        self.http = EMPTY_SCOPE
        self.times = None
        self.statements = self.body_capture = self.blocks = self.error = self.span = None
        self.logged_app = None
        self.duration = self.duration or MIN_DURATION

    def add_task(self, task: Any) -> None:
        """Remember a task that was created during the request."""

    def count_later_query(self) -> None:
        """Count a query of what the request left running."""

    def exemplar(self) -> str:
        """The trace id for an exemplar; empty unless a tracer keeps the trace."""
        return self.trace_id() if self.sampled else ""


def _incoming_trace_id(http: Any) -> str:
    for name, value in http.get("headers", ()):
        if name == b"traceparent" and (match := TRACEPARENT.fullmatch(value)):
            return match[1].decode()
    return ""


def _generated_trace_id() -> str:
    return f"{RANDOM.getrandbits(128) or 1:032x}"


CURRENT: ContextVar[RequestContext | None] = ContextVar("vitals_request", default=None)
"""The current request; None outside of one."""


def error_type_of(error: BaseException) -> str:
    """The type of an error, as a label value.

    Classes created at run time may have unbounded names: their nearest module-level base is used.
    A group of one error, as which a task group passes it on, has the type of that error.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    for kind in type(error).__mro__:
        name = kind.__qualname__
        if ".<locals>." in name or _is_module_level(kind):
            return name
    return "Exception"


def _is_module_level(kind: type) -> bool:
    """Whether the class is an attribute of its module."""
    found: Any = sys.modules.get(kind.__module__)
    for part in kind.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is kind


OnFinished = Callable[[RequestContext], None]
"""Called with a request that has finished."""


class MakeSpan(Protocol):
    """Creates spans of operations that probes have timed."""

    @property
    def enabled(self) -> bool:
        """Whether anything is traced; it may change while the application serves."""

    def __call__(
        self, name: str, began: int, error_type: str, attributes: Mapping[str, Any]
    ) -> None:
        """Create a span that began at a Unix time in nanoseconds and ends now."""
