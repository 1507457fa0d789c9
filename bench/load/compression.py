"""Compression ratio of a response, and how long compressing blocks the event loop."""

import asyncio
from itertools import pairwise
from time import thread_time

from starlette.types import Receive, Scope, Send

from bench.asgi_client import ask
from bench.interleave import quiet_percentile
from service.middleware.compression import Compression

ENCODINGS = ("zstd", "br", "gzip")
LARGE_FACTOR = 16
"""Factor of the larger response."""


class JsonApp:
    """An ASGI application that returns JSON.

    Args:
        body: The response body.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        del scope, receive
        length = (b"content-length", b"%d" % len(self._body))
        headers = [(b"content-type", b"application/json"), length]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})


async def measure(body: bytes, rounds: int) -> dict[str, float]:
    """Compression ratios, and the longest block of the event loop in milliseconds."""
    size = f"{len(body) // 1000} kB"
    ratios = {}
    for encoding in ENCODINGS:
        accepts = (b"accept-encoding", encoding.encode())
        _, headers, left = await ask(Compression(JsonApp(body), ()), "/", b"", accepts)
        if headers.get(b"content-encoding") != accepts[1]:
            raise RuntimeError(f"the response is not compressed with {encoding}")
        ratios[f"{size}, bytes by {encoding}"] = len(left) / len(body)
    for name, answer in (
        (size, body),
        (f"{len(body) * LARGE_FACTOR // 1000} kB", body * LARGE_FACTOR),
    ):
        for encoding in ENCODINGS:
            compressing = Compression(JsonApp(answer), ())
            blocks = [await _max_block(compressing, encoding) for _ in range(rounds)]
            ratios[f"{name}, milliseconds by {encoding}"] = quiet_percentile(blocks) * 1000
    return ratios


async def _max_block(app: Compression, encoding: str) -> float:
    """The longest processor time between two runs of another task."""
    runs = [thread_time()]

    async def other_task() -> None:
        while True:
            await asyncio.sleep(0)
            runs.append(thread_time())

    others = asyncio.create_task(other_task())
    await asyncio.sleep(0)
    await ask(app, "/", b"", (b"accept-encoding", encoding.encode()))
    await asyncio.sleep(0)
    others.cancel()
    return max(later - earlier for earlier, later in pairwise(runs))
