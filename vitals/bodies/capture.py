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

from vitals.media import Kind, header, kind
from vitals.meter import Meter
from vitals.scope import CURRENT

HELD = 65_536
"""Bytes of a body that are kept until it is known whether a line is written."""

_KEY = secrets.token_bytes(32)
"""Made anew by each process: an unkeyed hash of a login's body would let whoever reads the logs
guess the password offline."""


_READABLE = frozenset((Kind.JSON, Kind.FORM, Kind.TEXT))


class Capture:
    """One body as far as it has passed.

    Attributes:
        kind: By its content type; None until it is announced.
        compressed: Whether a content coding hides its bytes.
        size: Bytes that have passed.
        complete: Whether its end has passed.
    """

    __slots__ = ("_digest", "_held", "complete", "compressed", "kind", "size")

    def __init__(self) -> None:
        self.kind: Kind | None = None
        self.compressed = False
        self.size = 0
        self.complete = False
        self._held = bytearray()
        self._digest: Any = None

    @property
    def readable(self) -> bool:
        """Whether the bytes are worth keeping: text of a kind that can be redacted."""
        return not self.compressed and self.kind in _READABLE

    def begin(self, head: Scope) -> None:
        """Look at the headers that announce the body."""
        self.kind = kind(header(head, b"content-type"))
        self.compressed = header(head, b"content-encoding").lower() not in {b"", b"identity"}

    def pass_on(self, message: Message, head: Scope) -> None:
        """Take note of a part of the body, announced by a head."""
        body = message.get("body")
        if body:
            if self.kind is None:
                self.begin(head)
            self.size += len(body)
            if self.readable:
                self._hold(body)
        self.complete = not message.get("more_body", False)

    def _hold(self, body: bytes) -> None:
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
        asked, answered = request.bodies = Capture(), Capture()
        nothing: Message = {}

        async def hear() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                try:
                    asked.pass_on(message, scope)
                except Exception:  # noqa: BLE001  # a look at a body must not cost the body
                    self._meter.dropped("body_capture")
            return message

        async def say(message: Message) -> None:
            await send(message)
            try:
                if message["type"] == "http.response.start":
                    answered.begin(message)
                elif message["type"] == "http.response.body":
                    answered.pass_on(message, nothing)
            except Exception:  # noqa: BLE001  # as above
                self._meter.dropped("body_capture")

        return await self.app(scope, hear, say)
