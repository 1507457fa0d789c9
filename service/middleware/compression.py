"""Which answers leave compressed: what everybody may read."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette_compress import CompressMiddleware, remove_compress_type

SMALLEST = 1000
"""Bytes below which compressing costs more than it saves."""
SLICE = 32_768
"""Bytes compressed at a time: a quarter of a millisecond, in which nobody else is served."""
READING = frozenset({"GET", "HEAD"})


class Compression:
    """Compresses by zstd, br or gzip, whichever the client accepts first in this order.

    The length of a compressed answer tells how much of it repeats. Where a secret and what an
    attacker can write share an answer, guesses can be tested so (BREACH): what is written to us
    is echoed to the writer as it is, and so is what ``private`` paths hold. Event streams are
    left alone too, or every event would wait for the compressor.

    Args:
        app: What answers.
        private: Beginnings of paths whose answers are never compressed.
    """

    def __init__(self, app: ASGIApp, private: tuple[str, ...]) -> None:
        remove_compress_type("text/event-stream")
        self._plain = app
        self._compressed = CompressMiddleware(_Sliced(app), minimum_size=SMALLEST)
        self._private = private

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, compressed or not."""
        public = (
            scope["type"] == "http"
            and scope["method"] in READING
            and not scope["path"].startswith(self._private)
        )
        await (self._compressed if public else self._plain)(scope, receive, send)


class _Sliced:
    """Hands long answers over in slices, and lets others be served in between."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def say(message: Message) -> None:
            body = message.get("body", b"")
            if message["type"] != "http.response.body" or len(body) <= SLICE:
                return await send(message)
            for start in range(0, len(body), SLICE):
                end = start + SLICE
                more = end < len(body) or message.get("more_body", False)
                await send({**message, "body": body[start:end], "more_body": more})
                await asyncio.sleep(0)
            return None

        await self._app(scope, receive, say)
