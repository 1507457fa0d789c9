"""Evolutionary search for slow bodies: keeps the slowest for their size, and mutates them."""

import asyncio
from bisect import insort
from dataclasses import dataclass
from random import Random
from time import thread_time

from bench.fuzz.generators import FORM, JSON, PIECES
from bench.fuzz.target import TOKEN, Attempt, Target

MAX_BYTES = 65_536
BUDGET = 0.020
"""Budget of processor seconds on the event loop for a body of at most ``MAX_BYTES`` bytes."""
POPULATION = 24
_PIECES = tuple(piece for piece in PIECES if TOKEN.encode() not in piece)
"""Without the secret: a mutated body could hold it in places where it may be logged."""
ENDPOINTS = (
    ("POST", "/api/users/login"),
    ("POST", "/api/users"),
    ("POST", "/api/products"),
    ("PATCH", "/api/products/1"),
    ("POST", "/api/orders"),
    ("POST", "/echo"),
)
SEEDS = (
    b'{"email":"ada@example.com","password":"hunter"}',
    b'{"items":[{"product_id":1,"quantity":1}]}',
    b'{"name":"Oak desk","category":"office","price_cents":1}',
    b'["the password is not authenticated","4111 1111 1111 1111","https://a:b@c/d"]',
    b'[["pin",1e300],{"name":"key","value":"~"},"{\\"a\\":1}"]',
    b"name=ada&password=x&note=a%3Db",
)


@dataclass(frozen=True, order=True)
class Slow:
    """A body, and its processing time.

    Attributes:
        rate: Seconds per byte, beyond the time of an empty body.
        seconds: Processor time of the event loop's thread.
        content: The body.
        media: Its content type.
        endpoint: Method and path.
    """

    rate: float
    seconds: float
    content: bytes
    media: bytes
    endpoint: tuple[str, str]


class Search:
    """A search for slow bodies.

    Args:
        target: Receives the bodies.
        rng: Random source.
    """

    def __init__(self, target: Target, rng: Random) -> None:
        self._target = target
        self._rng = rng
        self._population: list[Slow] = []
        self._empty_seconds = 0.0
        self.worst: Slow | None = None

    async def run(self, attempts: int) -> Slow:
        """Make this many attempts; returns the slowest body.

        Raises:
            InvariantError: A body violated an invariant.
        """
        self._empty_seconds = await self._measure(b"", JSON, ENDPOINTS[0], times=5)
        for content in SEEDS:
            for endpoint in ENDPOINTS:
                await self._try(content, FORM if b"=" in content[:5] else JSON, endpoint)
        for _ in range(attempts):
            parent = self._rng.choice(self._population)
            other = self._rng.choice(self._population).content
            endpoint = parent.endpoint if self._rng.random() < 0.9 else self._rng.choice(ENDPOINTS)
            await self._try(mutate(parent.content, other, self._rng), parent.media, endpoint)
        if self.worst is None:
            raise ValueError("attempts must be at least 1")
        return self.worst

    async def _try(self, content: bytes, media: bytes, endpoint: tuple[str, str]) -> None:
        seconds = await self._measure(content, media, endpoint)
        if self.worst is None or seconds > self.worst.seconds or self._is_slow(seconds, content):
            # Garbage collection or other processes may have disturbed the measurement.
            seconds = min(seconds, await self._measure(content, media, endpoint, times=3))
        found = Slow(self._rate(seconds, content), seconds, content, media, endpoint)
        if self.worst is None or seconds > self.worst.seconds:
            self.worst = found
        if self._is_slow(seconds, content) and content not in {
            each.content for each in self._population
        }:
            insort(self._population, found)
            del self._population[: len(self._population) - POPULATION]

    def _is_slow(self, seconds: float, content: bytes) -> bool:
        return (
            len(self._population) < POPULATION
            or self._rate(seconds, content) > self._population[0].rate
        )

    def _rate(self, seconds: float, content: bytes) -> float:
        # The measurement is imprecise for short bodies.
        return (seconds - self._empty_seconds) / max(len(content), 256)

    async def _measure(
        self, content: bytes, media: bytes, endpoint: tuple[str, str], times: int = 1
    ) -> float:
        headers = ((b"content-type", media), (b"content-length", b"%d" % len(content)))
        attempt = Attempt(*endpoint, headers, (content,), authenticated=True, waits=True)
        least = float("inf")
        for _ in range(times):
            await asyncio.sleep(0)
            before = thread_time()
            await self._target.send(attempt)
            least = min(least, thread_time() - before)
        return least


def mutate(content: bytes, other: bytes, rng: Random) -> bytes:
    """Mutate a slow body: repeat, remove or insert a part, or take one from another body."""
    start = rng.randint(0, len(content))
    end = min(len(content), start + rng.choice((1, 2, 8, 40, 300)))
    part = content[start:end]
    match rng.randrange(5):
        case 0 | 1:
            part *= rng.choice((2, 10, 100, 2_000))
        case 2:
            part = b""
        case 3:
            part += rng.choice((*_PIECES, rng.randbytes(1)))
        case _:
            at = rng.randint(0, len(other))
            part = other[at : at + rng.choice((2, 20, 400, 9_000))]
    result = content[:start] + part + content[end:]
    # The end is kept, so that a valid body may stay valid.
    return result if len(result) <= MAX_BYTES else result[: MAX_BYTES - 100] + result[-100:]
