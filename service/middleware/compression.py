"""Compression of public responses."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette_compress import CompressMiddleware, remove_compress_type

MIN_SIZE = 1000
"""Bytes below which compressing costs more than it saves."""
SLICE_BYTES = 32_768
"""Compressed at a time: this blocks the event loop for a quarter of a millisecond."""
SAFE_METHODS = frozenset({"GET", "HEAD"})


class Compression:
    """Compresses by zstd, br or gzip, whichever the client accepts first in this order.

    The length of a compressed response reveals how much of it repeats. Where a secret and text
    from an attacker share a response, guesses can be tested (BREACH). So responses to writes and
    those of ``private`` paths are not compressed. Event streams are not compressed either,
    because every event would wait for the compressor.

    Args:
        app: The application.
        private: Path prefixes whose responses are never compressed.
    """

    def __init__(self, app: ASGIApp, private: tuple[str, ...]) -> None:
        remove_compress_type("text/event-stream")
        self._plain = app
        self._compressed = CompressMiddleware(_Sliced(app), minimum_size=MIN_SIZE)
        self._private = private

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, with or without compression."""
        public = (
            scope["type"] == "http"
            and scope["method"] in SAFE_METHODS
            and not scope["path"].startswith(self._private)
        )
        await (self._compressed if public else self._plain)(scope, receive, send)


class _Sliced:
    """Splits long bodies into slices, and yields to the event loop in between."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_slices(message: Message) -> None:
            body = message.get("body", b"")
            if message["type"] != "http.response.body" or len(body) <= SLICE_BYTES:
                return await send(message)
            for start in range(0, len(body), SLICE_BYTES):
                end = start + SLICE_BYTES
                more = end < len(body) or message.get("more_body", False)
                await send({**message, "body": body[start:end], "more_body": more})
                await asyncio.sleep(0)
            return None

        await self._app(scope, receive, send_slices)
