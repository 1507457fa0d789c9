"""A tee of ``receive`` and ``send``: bodies are seen as they pass, never asked for.

The body of a request arrives once. Whoever asks for it before the application leaves the
application waiting for bytes that never come, until the client gives up. So nothing here calls
``receive`` or ``send`` on its own behalf: the application does, and the same message objects go
on to it, in the same order, disconnects included. What it never reads is never seen.
"""

import hashlib
import secrets
from collections.abc import Awaitable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitals.asgi.content_type import Announced, Headers
from vitals.asgi.request_context import CURRENT
from vitals.metrics.meter import Meter

HELD = 65_536
"""Bytes of a body that are kept until it is known whether a line is written."""

_PARTS = 256
"""Parts of a body that are kept apart; a body may come a byte at a time."""

_KEY = secrets.token_bytes(32)
"""Made anew by each process: an unkeyed hash of a login's body would let whoever reads the logs
guess the password offline."""


class Capture:
    """One body as far as it has passed.

    Most requests are not told, so nothing is worked out before somebody asks.

    Args:
        headers: Of the message whose body it is.
        whole: All of it, if it came so.

    Attributes:
        size: Bytes that have passed.
        complete: Whether its end has passed.
    """

    __slots__ = ("_digest", "_headers", "_parts", "complete", "size")

    def __init__(self, headers: Headers, whole: bytes | None = None) -> None:
        self._headers = headers
        self._parts = [] if whole is None else [whole]
        self._digest: Any = None
        self.size = 0 if whole is None else len(whole)
        self.complete = whole is not None

    @property
    def announced(self) -> Announced:
        """What its headers say of it."""
        return Announced.by(self._headers)

    def add(self, body: bytes, *, more: bool) -> None:
        """Take note of a part of the body, and whether more will come."""
        self.complete = not more
        self.size += len(body)
        if self.size > HELD:
            return self._add_to_hash(body)
        # Where somebody else may write into the bytes, ours are a copy.
        self._parts.append(body if type(body) is bytes else bytes(body))
        if len(self._parts) > _PARTS:
            self._parts = [self.content()]
        return None

    def _add_to_hash(self, body: bytes) -> None:
        if self._digest is None:
            self._digest = _digest(self.content()) if self.announced.readable else _NoDigest()
            self._parts = []
        self._digest.update(body)

    def content(self) -> bytes:
        """All bytes, where no more passed than are held."""
        return b"".join(self._parts)

    def hash(self) -> str:
        """A keyed hash of all bytes: equal for equal bodies of one process, and no more."""
        return str((self._digest or _digest(self.content())).hexdigest())


def _digest(content: bytes) -> Any:
    return hashlib.blake2b(content, key=_KEY, digest_size=16)


class _NoDigest:
    """Of what is not readable nobody asks for a hash."""

    def update(self, body: bytes) -> None:
        """Do nothing."""


class Pair:
    """What was asked and what was answered, overheard.

    One object with state instead of closures over variables: it costs half. Whoever makes it sets
    the first four attributes: a constructor would cost as much again as the object. Most bodies
    come whole, and are kept as they are until somebody asks.

    Attributes:
        scope: The request's.
        receive: Where the client is heard.
        send: Where the application's words go.
        meter: Counts what failed here, which never fails a request.
    """

    scope: Scope
    receive: Receive
    send: Send
    meter: Meter
    _asked: bytes | Capture = b""
    _answered: bytes | Capture = b""
    _headers: Headers = ()

    @property
    def asked(self) -> Capture | None:
        """The request's body; None where no byte has passed."""
        return _captured(self._asked, self.scope["headers"])

    @property
    def answered(self) -> Capture | None:
        """The response's body; None where no byte has passed."""
        return _captured(self._answered, self._headers)

    async def hear(self) -> Message:
        """Pass on what the client says."""
        message = await self.receive()
        try:
            if message["type"] == "http.request":
                body, more = message.get("body", b""), message.get("more_body", False)
                if more or self._asked or type(body) is not bytes or len(body) > HELD:
                    self._asked = _more(self._asked, self.scope["headers"], body, more=more)
                else:
                    self._asked = body
        except Exception:  # noqa: BLE001  # a look at a body must not cost the body
            self.meter.dropped("body_capture")
        return message

    def say(self, message: Message) -> Awaitable[None]:
        """Pass on what the application says.

        No coroutine of its own, which would cost as much as the rest.
        """
        try:
            kind = message["type"]
            if kind == "http.response.body":
                body, more = message.get("body", b""), message.get("more_body", False)
                if more or self._answered or type(body) is not bytes or len(body) > HELD:
                    self._answered = _more(self._answered, self._headers, body, more=more)
                else:
                    self._answered = body
            elif kind == "http.response.start":
                self._headers = message.get("headers", ())
        except Exception:  # noqa: BLE001  # as above
            self.meter.dropped("body_capture")
        return self.send(message)


def _captured(held: bytes | Capture, headers: Headers) -> Capture | None:
    if isinstance(held, Capture):
        return held
    return Capture(headers, held) if held else None


def _more(
    held: bytes | Capture, headers: Headers, body: bytes | None, *, more: bool
) -> bytes | Capture:
    """What is held, and another part of the body."""
    capture = _captured(held, headers)
    if capture is None:
        if not body:
            return b""
        capture = Capture(headers)
    capture.add(body or b"", more=more)
    return capture


class Tee:
    """ASGI middleware that hands each request's captures to the request in hand.

    It stands directly inside of the HTTP probe, which opens the request and tells of its end.

    Args:
        app: The application inside.
        meter: Counts what failed here, which never fails a request.
    """

    def __init__(self, app: ASGIApp, meter: Meter) -> None:
        self.app = app
        self._meter = meter

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one connection."""
        request = CURRENT.get() if scope["type"] == "http" else None
        if request is None:
            return self.app(scope, receive, send)
        pair = request.bodies = Pair()
        pair.scope = scope
        pair.receive = receive
        pair.send = send
        pair.meter = self._meter
        return self.app(scope, pair.hear, pair.say)
