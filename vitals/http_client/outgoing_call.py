"""One outgoing request, from its sending to the last byte of its response."""

from collections.abc import Callable, Mapping, MutableMapping
from math import inf as INFINITY  # noqa: N812
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from vitals.asgi.request_context import CLIENT_ERROR, error_type_of
from vitals.asgi.request_times import HTTP_CALL, RequestTimes
from vitals.metrics.catalogue import ClientRequestLabels, ServerLabels

if TYPE_CHECKING:
    from vitals.http_client.recorder import HttpClientRecorder

SWITCHING_PROTOCOLS = 101
SOON = 0.01
"""Seconds after its headers within which a body is complete, whatever kind it is: looking for the
kind costs more than most bodies."""
STREAMS = ("text/event-stream", "multipart/x-mixed-replace", "application/x-ndjson")
"""Content types whose responses stay open: how long says nothing of the server."""


class AnySpan(Protocol):
    """A span of a request that is sent: of a trace record, or of OpenTelemetry's."""

    def end(self, attributes: Mapping[str, str | int], error_type: str) -> None:
        """End it now; an error type that is not empty marks it as failed."""


class OutgoingCall:
    """An outgoing request in progress.

    It is recorded once, by the first of ``answered``, ``failed`` or ``finish`` that ends it, or
    when it is dropped: a response that is neither read nor closed counts as it stands.

    Args:
        recorder: Records it.
        method: Its method, a label value.
        server: Where it is sent.
        exemplar: Returns the trace id of the request that causes it; None outside of one.
        since: When it began, by ``perf_counter``; None for now.
        times: The times of the request that causes it; None outside of one.

    Attributes:
        method: The same.
        server: The same.
        span: Its span; None without one.
        propagated: Headers that carry the trace's context.
    """

    __slots__ = (
        "_answered",
        "_attempt",
        "_exemplar",
        "_headers",
        "_recorder",
        "_started",
        "_status",
        "_times",
        "method",
        "propagated",
        "server",
        "span",
    )

    def __init__(
        self,
        recorder: "HttpClientRecorder",
        method: str,
        server: ServerLabels,
        *,
        exemplar: Callable[[], str] | None,
        since: float | None,
        times: RequestTimes | None,
    ) -> None:
        self._recorder: HttpClientRecorder | None = recorder
        self.method = method
        self.server = server
        self._exemplar = exemplar
        self._times = times
        self._status = 0
        self._headers: Any = None
        self._answered = INFINITY
        self._attempt = "", 0.0
        self.span: AnySpan | None = None
        self.propagated: dict[str, str] = {}
        self._started = perf_counter() if since is None else since

    def propagate(self, headers: MutableMapping[str, str]) -> None:
        """Add the headers that carry the trace's context."""
        for name, value in self.propagated.items():
            headers[name] = value

    def restore(self, headers: MutableMapping[str, str]) -> None:
        """Take them out again, so that the host's request is as it was."""
        for name in self.propagated:
            headers.pop(name, None)

    def answered(self, status: int, headers: Any) -> None:
        """Note the response's status and headers; its body follows."""
        self._status = status
        self._headers = headers
        self._answered = perf_counter()
        if status == SWITCHING_PROTOCOLS:
            self.finish()

    def attempted(self, status: int, error: BaseException | None) -> None:
        """Note how an attempt ended, in case that it is repeated."""
        self._status = status
        self._attempt = "" if error is None else error_type_of(error), perf_counter()

    def repeat(self) -> "OutgoingCall":
        """Record an attempt as it ended, and begin the next one."""
        recorder, now = self._recorder, perf_counter()
        if recorder is None:
            return self
        call = recorder.again(self)
        call.span, self.span = self.span, None  # it is the span of all attempts
        error_type, ended = self._attempt
        self._started += now - ended  # the pause before the next attempt is none of its time
        self.finish(error_type)
        return call

    def failed(self, error: BaseException) -> None:
        """Record what the request, or reading its response, failed with."""
        self.finish(error_type_of(error))

    def finish(self, error_type: str = "") -> None:
        """Record the request, unless it is recorded already; never raises."""
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        ended = perf_counter()
        if ended - self._answered > SOON and _is_stream(self._headers):
            ended = self._answered
        status = str(self._status) if self._status else ""
        if not error_type and self._status >= CLIENT_ERROR:
            error_type = status  # as the semantic conventions have it for clients
        labels = ClientRequestLabels(self.method, *self.server, status, error_type)
        if self._times is not None:
            self._times.wait(HTTP_CALL, self._started, ended)
        recorder.record(self.server, labels, ended - self._started, self._exemplar)
        if self.span is not None:
            recorder.end(self.span, self._status, error_type)

    def __del__(self) -> None:
        # Called by the garbage collector, maybe while a lock of the tracer is held: a span that
        # was never ended is lost.
        self.span = self._times = None
        self.finish()


def _is_stream(headers: Any) -> bool:
    """Whether a response stays open while there is news."""
    content_type = headers.get("content-type")
    return isinstance(content_type, str) and content_type.lower().startswith(STREAMS)
