"""Middleware that captures bodies as they pass through ``receive`` and ``send``.

The body of a request arrives once. Middleware that awaits it before the application does leaves the
application waiting for messages that never come, until the client disconnects. Nothing here calls
``receive`` or ``send`` on its own: the application does, and gets the same message objects in the
same order, disconnects included. What the application does not read is not captured.
"""

import hashlib
import secrets
from collections.abc import Awaitable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitals.asgi.content_type import BodyMedia, Headers
from vitals.asgi.request_context import CURRENT
from vitals.metrics.meter import Meter

MAX_HELD_BYTES = 65_536
"""Bytes of a body that are held until the body log decides whether to log it."""

_MAX_PARTS = 256
"""Parts that are held separately before they are joined; a body may arrive a byte at a time."""

_KEY = secrets.token_bytes(32)
"""Random per process: an unkeyed hash of a login's body would let a reader of the logs guess the
password offline."""


class CapturedBody:
    """One captured body, possibly still incomplete.

    Most requests are not logged, so everything is computed lazily.

    Args:
        headers: The headers of its message.
        whole: The entire body, if it arrived in one part.

    Attributes:
        size: Bytes captured.
        complete: Whether the end was captured.
    """

    __slots__ = ("_digest", "_headers", "_parts", "complete", "size")

    def __init__(self, headers: Headers, whole: bytes | None = None) -> None:
        self._headers = headers
        self._parts = [] if whole is None else [whole]
        self._digest: Any = None
        self.size = 0 if whole is None else len(whole)
        self.complete = whole is not None

    @property
    def media(self) -> BodyMedia:
        """What its headers declare."""
        return BodyMedia.from_headers(self._headers)

    def add(self, body: bytes, *, more: bool) -> None:
        """Add a part of the body, and whether more follows."""
        self.complete = not more
        self.size += len(body)
        if self.size > MAX_HELD_BYTES:
            return self._add_to_hash(body)
        # Copy mutable buffers: others may overwrite them.
        self._parts.append(body if type(body) is bytes else bytes(body))
        if len(self._parts) > _MAX_PARTS:
            self._parts = [self.content()]
        return None

    def _add_to_hash(self, body: bytes) -> None:
        if self._digest is None:
            self._digest = _digest(self.content()) if self.media.readable else _NoDigest()
            self._parts = []
        self._digest.update(body)

    def content(self) -> bytes:
        """The entire body, unless it exceeds ``MAX_HELD_BYTES``."""
        return b"".join(self._parts)

    def hash(self) -> str:
        """A keyed hash: equal for equal bodies within one process only."""
        return str((self._digest or _digest(self.content())).hexdigest())


def _digest(content: bytes) -> Any:
    return hashlib.blake2b(content, key=_KEY, digest_size=16)


class _NoDigest:
    """Placeholder for unreadable bodies, whose hash is never logged."""

    def update(self, body: bytes) -> None:
        """Do nothing."""


class BodyCapture:
    """Captures the bodies of one request and its response.

    One object with state costs half of closures over variables. The creator sets the first four
    attributes: a constructor would cost as much again as the object. Most bodies arrive in one
    part, which is held as it is until it is needed.

    Attributes:
        scope: The ASGI scope.
        server_receive: The server's ``receive``.
        server_send: The server's ``send``.
        meter: Counts failures here, which never fail a request.
    """

    scope: Scope
    server_receive: Receive
    server_send: Send
    meter: Meter
    _request_body: bytes | CapturedBody = b""
    _response_body: bytes | CapturedBody = b""
    _headers: Headers = ()

    @property
    def request_body(self) -> CapturedBody | None:
        """The request body; None without any byte."""
        return _as_captured(self._request_body, self.scope["headers"])

    @property
    def response_body(self) -> CapturedBody | None:
        """The response body; None without any byte."""
        return _as_captured(self._response_body, self._headers)

    async def receive(self) -> Message:
        """``receive`` for the application."""
        message = await self.server_receive()
        try:
            if message["type"] == "http.request":
                body, more = message.get("body", b""), message.get("more_body", False)
                if (
                    more
                    or self._request_body
                    or type(body) is not bytes
                    or len(body) > MAX_HELD_BYTES
                ):
                    self._request_body = _append(
                        self._request_body, self.scope["headers"], body, more=more
                    )
                else:
                    self._request_body = body
        except Exception:  # noqa: BLE001  # a capture failure must not fail the request
            self.meter.dropped("body_capture")
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """``send`` for the application.

        Not a coroutine function, which would double the cost.
        """
        try:
            kind = message["type"]
            if kind == "http.response.body":
                body, more = message.get("body", b""), message.get("more_body", False)
                if (
                    more
                    or self._response_body
                    or type(body) is not bytes
                    or len(body) > MAX_HELD_BYTES
                ):
                    self._response_body = _append(
                        self._response_body, self._headers, body, more=more
                    )
                else:
                    self._response_body = body
            elif kind == "http.response.start":
                self._headers = message.get("headers", ())
        except Exception:  # noqa: BLE001  # as above
            self.meter.dropped("body_capture")
        return self.server_send(message)


def _as_captured(held: bytes | CapturedBody, headers: Headers) -> CapturedBody | None:
    if isinstance(held, CapturedBody):
        return held
    return CapturedBody(headers, held) if held else None


def _append(
    held: bytes | CapturedBody, headers: Headers, body: bytes | None, *, more: bool
) -> bytes | CapturedBody:
    """Append a part of the body to what is held."""
    capture = _as_captured(held, headers)
    if capture is None:
        if not body:
            return b""
        capture = CapturedBody(headers)
    capture.add(body or b"", more=more)
    return capture


class BodyCaptureMiddleware:
    """ASGI middleware that attaches a body capture to the current request.

    It is placed directly inside the HTTP probe, which creates the request and reports its end.

    Args:
        app: The application inside.
        meter: Counts failures here, which never fail a request.
    """

    def __init__(self, app: ASGIApp, meter: Meter) -> None:
        self.app = app
        self._meter = meter

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one connection."""
        request = CURRENT.get() if scope["type"] == "http" else None
        if request is None:
            return self.app(scope, receive, send)
        capture = request.body_capture = BodyCapture()
        capture.scope = scope
        capture.server_receive = receive
        capture.server_send = send
        capture.meter = self._meter
        return self.app(scope, capture.receive, capture.send)
