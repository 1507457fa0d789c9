"""A tee of ``receive`` and ``send``: bodies are seen as they pass, never asked for.

The body of a request arrives once. Whoever asks for it before the application leaves the
application waiting for bytes that never come, until the client gives up. So nothing here calls
``receive`` or ``send`` on its own behalf: the application does, and the same message objects go
on to it, in the same order, disconnects included. What it never reads is never seen.
"""

import hashlib
import secrets
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitals.media import Announced, Headers, Kind
from vitals.meter import Meter
from vitals.scope import CURRENT

HELD = 65_536
"""Bytes of a body that are kept until it is known whether a line is written."""

_KEY = secrets.token_bytes(32)
"""Made anew by each process: an unkeyed hash of a login's body would let whoever reads the logs
guess the password offline."""


class Capture:
    """One body as far as it has passed.

    Attributes:
        kind: By its content type.
        compressed: Whether a content coding hides its bytes.
        readable: Whether the bytes are worth keeping: text of a kind that can be redacted.
        size: Bytes that have passed.
        complete: Whether its end has passed.
    """

    __slots__ = ("_digest", "_held", "complete", "compressed", "kind", "readable", "size")

    def __init__(self, headers: Headers) -> None:
        self.kind, self.compressed = Announced.by(headers)
        kind = self.kind
        self.readable = not self.compressed and (
            kind is Kind.JSON or kind is Kind.FORM or kind is Kind.TEXT
        )
        self.size = 0
        self.complete = False
        self._held = bytearray()
        self._digest: Any = None

    def add(self, body: bytes) -> None:
        """Take note of a part of the body."""
        self.size += len(body)
        if not self.readable:
            return
        if self.size <= HELD:
            self._held += body
            return
        if self._digest is None:
            self._digest = _digest(self._held)
            self._held = bytearray()
        self._digest.update(body)

    def content(self) -> bytes:
        """All bytes, where no more passed than are held."""
        return bytes(self._held)

    def hash(self) -> str:
        """A keyed hash of all bytes: equal for equal bodies of one process, and no more."""
        return str((self._digest or _digest(self._held)).hexdigest())


def _digest(content: bytes | bytearray) -> Any:
    return hashlib.blake2b(content, key=_KEY, digest_size=16)


class Pair:
    """What was asked and what was answered; None where no byte has passed.

    Attributes:
        asked: The request's body.
        answered: The response's body.
    """

    __slots__ = ("_headers", "answered", "asked")

    def __init__(self) -> None:
        self.asked: Capture | None = None
        self.answered: Capture | None = None
        self._headers: Headers = ()

    def hear(self, message: Message, scope: Scope) -> None:
        """Take note of what the application received."""
        if body := message.get("body"):
            if self.asked is None:
                self.asked = Capture(scope["headers"])
            self.asked.add(body)
        if self.asked is not None:
            self.asked.complete = not message.get("more_body", False)

    def say(self, message: Message) -> None:
        """Take note of what the application sent."""
        if message["type"] == "http.response.start":
            self._headers = message.get("headers", ())
            return
        if message["type"] != "http.response.body":
            return
        if body := message.get("body"):
            if self.answered is None:
                self.answered = Capture(self._headers)
            self.answered.add(body)
        if self.answered is not None:
            self.answered.complete = not message.get("more_body", False)


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        request = CURRENT.get() if scope["type"] == "http" else None
        if request is None:
            return await self.app(scope, receive, send)
        pair = request.bodies = Pair()

        async def hear() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                try:
                    pair.hear(message, scope)
                except Exception:  # noqa: BLE001  # a look at a body must not cost the body
                    self._meter.dropped("body_capture")
            return message

        async def say(message: Message) -> None:
            await send(message)
            try:
                pair.say(message)
            except Exception:  # noqa: BLE001  # as above
                self._meter.dropped("body_capture")

        return await self.app(scope, hear, say)
