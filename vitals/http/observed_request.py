"""An HTTP request observed through its ASGI messages as they pass."""

import os
from contextlib import suppress
from time import perf_counter

from starlette.types import Message, Receive, Send

from vitals.asgi.request_context import (
    CLIENT_DISCONNECTED,
    SERVER_ERROR,
    RequestContext,
    error_type_of,
)

CLIENT_CLOSED = 499


class ObservedRequest(RequestContext):
    """An HTTP request whose ``receive`` and ``send`` record what passes.

    One object with state costs half of closures over variables. The creator sets the first four
    attributes: a constructor would cost as much again as the object.

    Attributes:
        http: The ASGI scope.
        method: A method of RFC 9110, or ``_OTHER``.
        server_receive: The server's ``receive``.
        server_send: The server's ``send``.
        received: Bytes of the request body that the application has received.
        sent: Bytes of the response body that the application has sent.
        ended: When the response was complete, by ``perf_counter``; 0 before.
        client_disconnected: Whether the client has disconnected.
        trailers: Whether trailer fields follow the body.
    """

    server_receive: Receive
    server_send: Send
    received = 0
    sent = 0
    ended = 0.0
    client_disconnected = False
    trailers = False

    __init__ = object.__init__

    async def receive(self) -> Message:
        """``receive`` for the application."""
        message = await self.server_receive()
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
        elif message["type"] == "http.disconnect" and not self.ended:
            self.client_disconnected = True
        return message

    async def send(self, message: Message) -> None:
        """``send`` for the application."""
        try:
            await self.server_send(message)
        except OSError:
            self.client_disconnected = True
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
            with suppress(OSError):  # the file may have been deleted
                self.sent += os.stat(message["path"]).st_size  # noqa: PTH116
            self.ended = perf_counter()
        elif kind == "http.response.trailers" and not message.get("more_trailers", False):
            self.ended = perf_counter()

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
            self.status, self.error_type = CLIENT_CLOSED, CLIENT_DISCONNECTED
        elif self.ended:
            self.error_type = error_type_of(error) if error else str(self.status)
        elif error is not None:
            self.status = self.status or SERVER_ERROR
            self.error_type = error_type_of(error)
        else:
            self.error_type = "incomplete_response" if self.status else "no_response"
            self.status = self.status or SERVER_ERROR


async def _disconnected() -> Message:
    """What the server sends for a request that is over."""
    return {"type": "http.disconnect"}


async def _complete(message: Message) -> None:
    raise RuntimeError(f"{message['type']} was sent after the response was complete")
