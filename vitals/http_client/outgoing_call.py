"""One outgoing request, from its sending to the last byte of its response."""

from collections.abc import Mapping, MutableMapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

from vitals.asgi.request_context import CLIENT_ERROR, OpenSpan, error_type_of
from vitals.metrics.catalogue import ServerLabels

if TYPE_CHECKING:
    from vitals.http_client.recorder import HttpClientRecorder

SWITCHING_PROTOCOLS = 101
STREAMS = ("text/event-stream", "multipart/x-mixed-replace", "application/x-ndjson")
"""Content types whose responses stay open: how long says nothing of the server."""


class OutgoingCall:
    """An outgoing request in progress.

    It is recorded once, by the first of ``answered``, ``failed`` or ``finish`` that ends it, or
    when it is dropped: a response that is neither read nor closed counts as it stands.

    Args:
        recorder: Records it.
        method: Its method, a label value.
        server: Where it is sent.
        span: Its span; None without one.
        propagated: Headers that carry the trace's context.
        since: When it began, by ``perf_counter``; None for now.
    """

    __slots__ = (
        "_method",
        "_recorder",
        "_seconds",
        "_server",
        "_span",
        "_started",
        "_status",
        "propagated",
    )

    def __init__(
        self,
        recorder: "HttpClientRecorder",
        method: str,
        server: ServerLabels,
        span: OpenSpan | None,
        propagated: Mapping[str, str],
        *,
        since: float | None,
    ) -> None:
        self._recorder: HttpClientRecorder | None = recorder
        self._method = method
        self._server = server
        self._span = span
        self._status = 0
        self._seconds: float | None = None
        self.propagated = propagated
        self._started = perf_counter() if since is None else since

    def propagate(self, headers: MutableMapping[str, str]) -> None:
        """Add the headers of the trace's context."""
        for name, value in self.propagated.items():
            headers[name] = value

    def restore(self, headers: MutableMapping[str, str]) -> None:
        """Take them out again, so that the host's request is as it was."""
        for name in self.propagated:
            headers.pop(name, None)

    def answered(self, status: int, content_type: str | None) -> None:
        """Note the response's status; its body follows.

        Args:
            status: The status code.
            content_type: The response's ``Content-Type``.
        """
        self._status = status
        if content_type is not None and content_type.lower().startswith(STREAMS):
            self._seconds = perf_counter() - self._started
        elif status == SWITCHING_PROTOCOLS:
            self.finish()

    def failed(self, error: BaseException) -> None:
        """Record what the request, or reading its response, failed with."""
        self.finish(error_type_of(error))

    def finish(self, error_type: str = "") -> None:
        """Record the request, unless it is recorded already; never raises."""
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        seconds = self._seconds
        if seconds is None:
            seconds = perf_counter() - self._started
        status = str(self._status) if self._status else ""
        if not error_type and self._status >= CLIENT_ERROR:
            error_type = status  # as the semantic conventions have it for clients
        recorder.record(self._method, self._server, status, error_type, seconds)
        if self._span is not None:
            self._span.end(
                {"http.response.status_code": self._status} if status else {}, error_type
            )

    def __del__(self) -> None:
        self.finish()


AnyCall = OutgoingCall | None
"""A call, or none where it could not be measured."""


def header(headers: Any, name: str) -> str | None:
    """A header's value as text."""
    value = headers.get(name)
    return value if isinstance(value, str) else None
