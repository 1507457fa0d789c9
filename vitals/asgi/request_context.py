"""What is known of the request in hand, for probes that see only a part of it.

One object a request, in a context variable: the HTTP probe opens it, the query probe counts in it,
the logs quote it. Tasks and threads that a request starts share it. One that goes on when the
request is over keeps the trace id, for the request caused it, and nothing else of the request.
"""

import random
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Protocol

TRACEPARENT = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""https://www.w3.org/TR/trace-context/#traceparent-header, version 00."""

CLIENT_ERROR = 400
SERVER_ERROR = 500
CLIENT_DISCONNECTED = "client_disconnected"
"""The error type of an answer that the client did not wait for (status 499)."""


NOTHING: Mapping[str, Any] = MappingProxyType({})
SHORTEST = 1e-9
"""Seconds; a duration above 0 tells that a request is over."""


class RequestScope:
    """One request, filled as it goes along.

    Attributes:
        http: The ASGI scope; empty once the request is over.
        outer_root: Its ``root_path`` before the application saw the request.
        method: A method of RFC 9110, or ``_OTHER``.
        route: The route template, known once the request has been answered.
        status: The status sent; 499 when the client left before the answer was complete.
        error_type: What went wrong, empty when nothing did.
        duration: Seconds to the last byte of the answer.
        queries: Database operations so far.
        db_seconds: Seconds spent in them.
        pool_seconds: Seconds spent waiting for connections.
        statements: What the query probe keeps of each statement; None while there was none.
        bodies: Captures of what was asked and answered, where bodies are logged.
    """

    # Defaults stand with the class: a request then pays only for what it changes.
    outer_root = ""
    route = ""
    status = 0
    error_type = ""
    duration = 0.0
    queries = 0
    db_seconds = 0.0
    pool_seconds = 0.0
    statements: Any = None
    bodies: Any = None
    sampled = True
    _trace_id = ""

    def __init__(self, http: Any, method: str) -> None:
        self.http = http
        self.method = method

    @property
    def failed(self) -> bool:
        """Whether we broke the request, as opposed to the client refusing or leaving it."""
        return self.status >= SERVER_ERROR or self.error_type not in {"", CLIENT_DISCONNECTED}

    def traced(self, trace_id: str, *, sampled: bool) -> None:
        """Take over the trace that a tracer has begun for this request."""
        self._trace_id = trace_id
        self.sampled = sampled

    def trace_id(self) -> str:
        """The trace's id (32 hex digits): the tracer's, the caller's, or a made one."""
        if not self._trace_id:
            self._trace_id = _callers(self.http) or f"{random.getrandbits(128) or 1:032x}"
        return self._trace_id

    def release(self) -> None:
        """Let go of what the request held: a task that outlives it keeps no more than its trace."""
        if not self._trace_id:
            self._trace_id = _callers(self.http)
        self.http = NOTHING
        self.statements = self.bodies = None
        self.duration = self.duration or SHORTEST

    def exemplar(self) -> str:
        """The trace's id for an exemplar; empty when the trace is not kept anywhere."""
        return self.trace_id() if self.sampled else ""


def _callers(http: Any) -> str:
    for name, value in http.get("headers", ()):
        if name == b"traceparent" and (match := TRACEPARENT.fullmatch(value)):
            return match[1].decode()
    return ""


CURRENT: ContextVar[RequestScope | None] = ContextVar("vitals_request", default=None)
"""The request in hand; None outside of one."""


def name_error(error: BaseException) -> str:
    """The type of an error, for a label.

    A class that was made at run time may have been named by a request, and each by another: it is
    called what it is derived from.
    """
    for kind in type(error).__mro__:
        name = kind.__qualname__
        if ".<locals>." in name or _stands(kind):
            return name
    return "Exception"


def _stands(kind: type) -> bool:
    """Whether its module has it."""
    found: Any = sys.modules.get(kind.__module__)
    for part in kind.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is kind


class MakeSpan(Protocol):
    """Told by probes of each operation they timed, while tracing is on."""

    def __call__(
        self, name: str, began: int, error_type: str, attributes: Mapping[str, str]
    ) -> None:
        """Make a span that began at a Unix time in nanoseconds and ends now."""
