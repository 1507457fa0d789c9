"""Looks for bodies that take long: keeps the slowest for their size, and changes them further."""

import asyncio
from bisect import insort
from dataclasses import dataclass
from random import Random
from time import thread_time

from bench.fuzz.generators import FORM, JSON, PIECES
from bench.fuzz.target import TOKEN, Attempt, Target

LONGEST = 65_536
BUDGET = 0.020
"""Seconds of processor time that a body of at most ``LONGEST`` bytes may take on the loop."""
KEPT = 24
_PIECES = tuple(piece for piece in PIECES if TOKEN.encode() not in piece)
"""Without the secret: a changed body would hold it in places where it may be told."""
PLACES = (
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
    b'["the password is not known","4111 1111 1111 1111","https://a:b@c/d"]',
    b'[["pin",1e300],{"name":"key","value":"~"},"{\\"a\\":1}"]',
    b"name=ada&password=x&note=a%3Db",
)


@dataclass(frozen=True, order=True)
class Slow:
    """A body, and what it took.

    Attributes:
        rate: Seconds for each byte, beyond what an empty body takes.
        seconds: Processor time of the loop's thread.
        content: The body.
        media: Its content type.
        place: Method and path.
    """

    rate: float
    seconds: float
    content: bytes
    media: bytes
    place: tuple[str, str]


class Search:
    """A search for slow bodies.

    Args:
        target: What they are sent to.
        chance: Draws.
    """

    def __init__(self, target: Target, chance: Random) -> None:
        self._target = target
        self._chance = chance
        self._kept: list[Slow] = []
        self._least = 0.0
        self.worst: Slow | None = None

    async def run(self, attempts: int) -> Slow:
        """Make so many attempts; returns the body that took the longest.

        Raises:
            BrokenPromiseError: A body did what never may be done.
        """
        self._least = await self._taken(b"", JSON, PLACES[0], times=5)
        for content in SEEDS:
            for place in PLACES:
                await self._try(content, FORM if b"=" in content[:5] else JSON, place)
        for _ in range(attempts):
            parent = self._chance.choice(self._kept)
            other = self._chance.choice(self._kept).content
            place = parent.place if self._chance.random() < 0.9 else self._chance.choice(PLACES)
            await self._try(changed(parent.content, other, self._chance), parent.media, place)
        if self.worst is None:
            raise ValueError("no attempt was made")
        return self.worst

    async def _try(self, content: bytes, media: bytes, place: tuple[str, str]) -> None:
        seconds = await self._taken(content, media, place)
        if self.worst is None or seconds > self.worst.seconds or self._is_slow(seconds, content):
            # Garbage may have been collected meanwhile, or other work have filled the caches.
            seconds = min(seconds, await self._taken(content, media, place, times=3))
        found = Slow(self._rate(seconds, content), seconds, content, media, place)
        if self.worst is None or seconds > self.worst.seconds:
            self.worst = found
        if self._is_slow(seconds, content) and content not in {each.content for each in self._kept}:
            insort(self._kept, found)
            del self._kept[: len(self._kept) - KEPT]

    def _is_slow(self, seconds: float, content: bytes) -> bool:
        return len(self._kept) < KEPT or self._rate(seconds, content) > self._kept[0].rate

    def _rate(self, seconds: float, content: bytes) -> float:
        # Of short bodies the measurement tells little.
        return (seconds - self._least) / max(len(content), 256)

    async def _taken(
        self, content: bytes, media: bytes, place: tuple[str, str], times: int = 1
    ) -> float:
        headers = ((b"content-type", media), (b"content-length", b"%d" % len(content)))
        attempt = Attempt(*place, headers, (content,), known=True, stays=True)
        least = float("inf")
        for _ in range(times):
            await asyncio.sleep(0)
            before = thread_time()
            await self._target.judge(attempt)
            least = min(least, thread_time() - before)
        return least


def changed(content: bytes, other: bytes, chance: Random) -> bytes:
    """A body made of one that was slow: a part repeated, taken out, or put in from another."""
    start = chance.randint(0, len(content))
    end = min(len(content), start + chance.choice((1, 2, 8, 40, 300)))
    part = content[start:end]
    match chance.randrange(5):
        case 0 | 1:
            part *= chance.choice((2, 10, 100, 2_000))
        case 2:
            part = b""
        case 3:
            part += chance.choice((*_PIECES, chance.randbytes(1)))
        case _:
            at = chance.randint(0, len(other))
            part = other[at : at + chance.choice((2, 20, 400, 9_000))]
    result = content[:start] + part + content[end:]
    # The end stays, so that what was sound may be so still.
    return result if len(result) <= LONGEST else result[: LONGEST - 100] + result[-100:]
