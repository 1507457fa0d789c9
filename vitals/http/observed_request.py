"""An HTTP request observed through its ASGI messages as they pass."""

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from time import perf_counter
from typing import Any, Protocol
from weakref import WeakSet

from starlette.types import Message, Receive, Send

from vitals.asgi.request_context import (
    CLIENT_DISCONNECTED,
    SERVER_ERROR,
    SERVER_SHUTDOWN,
    RequestContext,
    error_type_of,
)
from vitals.asgi.request_times import RECEIVING, SENDING, STREAMING
from vitals.errors import COUNTED, ErrorCounter
from vitals.metrics.asgi_server import AsgiServer

CLIENT_CLOSED = 499
EVENT_STREAM = b"text/event-stream"


class Work(Protocol):
    """Measures what a request leaves running."""

    def measure(self, request: "ObservedRequest", name: str, /) -> AbstractContextManager[None]:
        """Measure a background task that the application runs itself."""

    def count_query(self, route: str, /) -> None:
        """Count a query that a route's background task has sent."""


class ObservedRequest(RequestContext):
    """An HTTP request whose ``receive`` and ``send`` record what passes.

    It is finished when its response is complete, whatever the application does afterwards.

    One object with state costs half of closures over variables. The creator sets the first five
    attributes: a constructor would cost as much again as the object. The next three are the
    probe's, attributes of its subclass.

    Attributes:
        http: The ASGI scope.
        method: A method of RFC 9110, or ``_OTHER``.
        server_receive: The server's ``receive``.
        server_send: The server's ``send``.
        started: When the request arrived, by ``perf_counter``.
        finish: Called once, when the response is complete or will never be.
        work: Measures background tasks; None where nothing does.
        errors: Counts exceptions; None where nothing does.
        received: Bytes of the request body that the application has received.
        sent: Bytes of the response body that the application has sent.
        ended: When the response was complete, by ``perf_counter``; 0 before.
        streaming: Whether the response is a stream, known with its first byte at the latest.
        first_byte: When its first byte was sent, if the response comes in parts; else 0.
        client_disconnected: Whether the client has disconnected.
        trailers: Whether trailer fields follow the body.
        tasks: Tasks that were created during the request and are still referenced; or None.
    """

    server_receive: Receive
    server_send: Send
    started: float
    finish: Callable[["ObservedRequest"], None]
    work: Work | None = None
    errors: ErrorCounter | None = None
    received = 0
    sent = 0
    ended = 0.0
    streaming = False
    first_byte = 0.0
    client_disconnected = False
    trailers = False
    tasks: "WeakSet[asyncio.Future[Any]] | None" = None
    _events = False
    _has_length = True

    __init__ = object.__init__

    async def receive(self) -> Message:
        """``receive`` for the application."""
        began = perf_counter()
        message = await self.server_receive()
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            if self.times is not None:
                self.times.wait(RECEIVING, began, perf_counter())
        elif message["type"] == "http.disconnect" and not self.ended:
            self.client_disconnected = True
        return message

    async def send(self, message: Message) -> None:  # noqa: C901, PLR0912  # each call would cost
        """``send`` for the application."""
        times, kind = self.times, message["type"]
        if times is not None:
            if kind == "http.response.start":
                times.enter(SENDING)
            elif message.get("more_body", False):
                if times.phase == SENDING:  # its head is sent: this was made since then
                    times.rename(STREAMING)
                times.enter(SENDING)
                times.forget()
            elif times.phase == STREAMING:
                times.enter(SENDING)
        try:
            await self.server_send(message)
        except OSError:
            self.client_disconnected = True
            raise
        if kind == "http.response.start":
            self.status = message["status"]
            headers = message.get("headers")
            # Starlette's own order; every other one is looked at more closely.
            if headers.__class__ is not list or not headers or headers[0][0] != b"content-length":
                self._read_head(headers)
            if "trailers" in message:
                self.trailers = message["trailers"]
        elif kind == "http.response.body":
            body = message.get("body", b"")
            self.sent += len(body)
            if message.get("more_body", False):
                if body and not self.streaming:
                    self._count_part()
                if times is not None:
                    times.enter(STREAMING)
            elif not self.trailers:
                self.ended = perf_counter()
                if self.status < SERVER_ERROR:
                    self.finish(self)
                else:
                    self._finish_failed()
        else:
            self._end_otherwise(message)

    def _end_otherwise(self, message: Message) -> None:
        """Observe the end of a response whose body does not end it."""
        if message["type"] == "http.response.pathsend":
            with suppress(OSError):  # the file may have been deleted
                self.sent += os.stat(message["path"]).st_size  # noqa: PTH116
            self._complete()
        elif message["type"] == "http.response.trailers" and not message.get("more_trailers"):
            self._complete()

    def _read_head(self, headers: Any) -> None:
        """Learn from the response's headers whether it may be a stream."""
        self._has_length = False
        if not isinstance(headers, list | tuple):
            return  # an iterator is the server's to read
        for name, value in headers:
            if name == b"content-length":
                self._has_length = True
            elif name == b"content-type" and value[:17].lower() == EVENT_STREAM:
                # Open with its head: events come when there are some.
                self._events = self.streaming = True
                self._note_first_byte()

    def _count_part(self) -> None:
        """A stream has no length, or comes in more than one part; its first byte is its body's.

        Middleware sends even a small response of known length as one part and an empty end.
        """
        if self.first_byte:
            self.streaming = True
        else:
            self._note_first_byte()
            self.streaming = not self._has_length

    def _note_first_byte(self) -> None:
        self.first_byte = perf_counter()
        if self.times is not None:
            self.times.to_first_byte = self.times.until(self.first_byte)

    def _complete(self) -> None:
        """Finish the request, whose response is complete."""
        self.ended = perf_counter()
        if self.status < SERVER_ERROR:
            self.finish(self)
        else:
            self._finish_failed()

    def _finish_failed(self) -> None:
        """Finish a request whose response is an error, unless an exception tells more of it.

        Starlette responds to an exception first, then raises it to the server.
        """
        error = sys.exception()
        if error is None:
            self.set_outcome(None)
            self.finish(self)
        else:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Count the exception that fails the request, while it has its traceback."""
        if not self.client_disconnected and self.errors is not None:
            self.error = error, error.__traceback__
            seen = self.errors.count(error, self)
            if seen is not None:
                counted = seen.counted or COUNTED in self.error_fields
                self.error_fingerprint = seen.error.id
                self.error_fields = seen._replace(counted=counted).fields()

    def add_task(self, task: "asyncio.Future[Any]") -> None:
        """Remember a task that was created during the request."""
        if self.tasks is None:
            self.tasks = WeakSet()
        self.tasks.add(task)

    def count_later_query(self) -> None:
        """Count a query of what the request left running."""
        if self.work is not None:
            self.work.count_query(self.route)

    def release(self) -> None:
        """Release what the request holds, including its connection."""
        super().release()
        self.server_receive, self.server_send = _disconnected, _complete

    def set_outcome(self, error: BaseException | None) -> None:
        """Set the status and error type that the request is counted under."""
        if self.ended and self.status < SERVER_ERROR:
            return  # a background task failed, not the response
        if self.client_disconnected:
            # Starlette responds 500 to a client that disconnected while sending its body.
            self.error_type = CLIENT_DISCONNECTED
            if not self._events:  # which have no other end
                self.status = CLIENT_CLOSED
        elif error is not None and (self.ended or not is_cancelled_by_server()):
            self.status = self.status or SERVER_ERROR
            self.error_type = error_type_of(error)
            self.fail(error)
        elif self.ended:
            self.error_type = str(self.status)
        elif error is not None:
            self.set_cut()
        else:
            self.error_type = "incomplete_response" if self.status else "no_response"
            self.status = self.status or SERVER_ERROR

    def set_cut(self) -> None:
        """Set the outcome of a request that the server's shutdown has cut."""
        self.status = self.status or SERVER_ERROR
        self.error_type = SERVER_SHUTDOWN


def is_cancelled_by_server() -> bool:
    """Whether the server has cancelled the task that serves a request, as at its shutdown.

    A CancelledError from within the application leaves the task uncancelled. So may a task group
    of anyio that the server's passes through: then a server that shuts down has sent it.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return False  # no asyncio
    if task is None or task.cancelling():
        return task is not None
    if not isinstance(sys.exception(), asyncio.CancelledError):
        return False
    server = AsgiServer.running()
    return server is not None and server.is_shutting_down


async def _disconnected() -> Message:
    """What the server sends for a request that is over."""
    return {"type": "http.disconnect"}


async def _complete(message: Message) -> None:
    raise RuntimeError(f"{message['type']} was sent after the response was complete")
