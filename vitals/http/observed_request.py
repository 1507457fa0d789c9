"""One request: what is said in it, overheard as it passes."""

import os
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter

from starlette.types import Message, Receive, Send

from vitals.asgi.request_context import CLIENT_DISCONNECTED, SERVER_ERROR, RequestScope, name_error

CLIENT_CLOSED = 499

Told = Callable[[RequestScope], None]
"""Told of a request."""


class Exchange(RequestScope):
    """A request and what is said in it, overheard as it passes.

    One object with state instead of closures over variables: it costs half. Whoever makes it sets
    the first four attributes: a constructor would cost as much again as the object.

    Attributes:
        http: The ASGI scope.
        method: A method of RFC 9110, or ``_OTHER``.
        receive: Where the client is heard.
        send: Where the application's words go.
        received: Bytes of the body that the application has taken.
        sent: Bytes of the body that it has given.
        ended: When it had given the last, by ``perf_counter``; 0 before.
        left: Whether the client has gone.
        trailers: Whether fields follow the body.
    """

    receive: Receive
    send: Send
    received = 0
    sent = 0
    ended = 0.0
    left = False
    trailers = False

    __init__ = object.__init__

    async def hear(self) -> Message:
        """Pass on what the client says."""
        message = await self.receive()
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
        elif message["type"] == "http.disconnect" and not self.ended:
            self.left = True
        return message

    async def say(self, message: Message) -> None:
        """Pass on what the application says."""
        try:
            await self.send(message)
        except OSError:
            self.left = True
            raise
        kind = message["type"]
        if kind == "http.response.start":
            self.status = message["status"]
            if "trailers" in message:
                self.trailers = message["trailers"]
        elif kind == "http.response.body":
            self.sent += len(message.get("body", b""))
            if not message.get("more_body", False) and not self.trailers:
                self.ended = perf_counter()
        elif kind == "http.response.pathsend":
            with suppress(OSError):  # the file may be gone by now
                self.sent += os.stat(message["path"]).st_size  # noqa: PTH116
            self.ended = perf_counter()
        elif kind == "http.response.trailers" and not message.get("more_trailers", False):
            self.ended = perf_counter()

    def release(self) -> None:
        """Let go of what the request held, its connection included."""
        super().release()
        self.receive, self.send = _disconnected, _complete

    def conclude(self, error: BaseException | None) -> None:
        """Settle the status and the error that the request is counted under."""
        if self.ended and self.status < SERVER_ERROR:
            return  # what failed later is a background task, not the answer
        if self.left:
            # Starlette answers 500 to a client that left in the middle of its own body.
            self.status, self.error_type = CLIENT_CLOSED, CLIENT_DISCONNECTED
        elif self.ended:
            self.error_type = name_error(error) if error else str(self.status)
        elif error is not None:
            self.status = self.status or SERVER_ERROR
            self.error_type = name_error(error)
        else:
            self.error_type = "incomplete_response" if self.status else "no_response"
            self.status = self.status or SERVER_ERROR


async def _disconnected() -> Message:
    """What the server would say of a request that is over."""
    return {"type": "http.disconnect"}


async def _complete(message: Message) -> None:
    raise RuntimeError(f"{message['type']} was sent when the answer was complete")


class TracedExchange(Exchange):
    """One that takes over the tracer's trace when the answer begins: its span is current then."""

    def __init__(self, join_trace: Told) -> None:
        super().__init__()
        self._join_trace = join_trace

    async def say(self, message: Message) -> None:
        """Pass on what the application says."""
        if message["type"] == "http.response.start":
            self._join_trace(self)
        await super().say(message)
