"""What compressing leaves of an answer, and for how long nobody else is served meanwhile."""

import asyncio
from itertools import pairwise
from time import thread_time

from starlette.types import Receive, Scope, Send

from bench.asgi_client import ask
from bench.interleave import usual
from service.middleware.compression import Compression

ENCODINGS = ("zstd", "br", "gzip")
LONG = 16
"""How many times as long the longer answer is."""


class Said:
    """Answers with JSON.

    Args:
        body: The answer.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        del scope, receive
        length = (b"content-length", b"%d" % len(self._body))
        headers = [(b"content-type", b"application/json"), length]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})


async def measure(body: bytes, rounds: int) -> dict[str, float]:
    """Shares of bytes that are left, and milliseconds that the event loop stands still at most."""
    size = f"{len(body) // 1000} kB"
    ratios = {}
    for encoding in ENCODINGS:
        accepts = (b"accept-encoding", encoding.encode())
        _, said, left = await ask(Compression(Said(body), ()), "/", b"", accepts)
        if said.get(b"content-encoding") != accepts[1]:
            raise RuntimeError(f"the answer is not compressed by {encoding}")
        ratios[f"{size}, bytes by {encoding}"] = len(left) / len(body)
    for name, answer in ((size, body), (f"{len(body) * LONG // 1000} kB", body * LONG)):
        for encoding in ENCODINGS:
            compressing = Compression(Said(answer), ())
            still = [await _stands_still(compressing, encoding) for _ in range(rounds)]
            ratios[f"{name}, milliseconds by {encoding}"] = usual(still) * 1000
    return ratios


async def _stands_still(app: Compression, encoding: str) -> float:
    """The longest processor time between two turns of somebody else: a neighbour's is not ours."""
    turns = [thread_time()]

    async def turn() -> None:
        while True:
            await asyncio.sleep(0)
            turns.append(thread_time())

    others = asyncio.create_task(turn())
    await asyncio.sleep(0)
    await ask(app, "/", b"", (b"accept-encoding", encoding.encode()))
    await asyncio.sleep(0)
    others.cancel()
    return max(later - earlier for earlier, later in pairwise(turns))
