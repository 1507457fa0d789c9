"""What is cached here: a source that counts its loads, and the interface that caches share."""

import asyncio
import time
from typing import Any, Protocol

Value = dict[str, Any]
LIFETIME_SECONDS = 600

SMALL: Value = {"id": 7, "name": "Oak desk", "text": "x" * 150}
LARGE: Value = {
    "items": [
        {"id": number, "name": f"Product {number}", "category": "garden", "price_cents": 1999}
        for number in range(70)
    ]
}
"""About 200 bytes and 5 kB as JSON."""


class Source:
    """A database of one value.

    Args:
        value: What every key holds.
        seconds: How long a load takes.
    """

    def __init__(self, value: Value, seconds: float = 0.0) -> None:
        self.value = value
        self.seconds = seconds
        self.loads = 0

    async def load(self, _key: str) -> Value:
        """Load as asynchronous code does: what is found was true when it began."""
        self.loads += 1
        found = self.value
        await asyncio.sleep(self.seconds)
        return found

    def load_blocking(self, _key: str) -> Value:
        """Load as a thread does."""
        self.loads += 1
        found = self.value
        time.sleep(self.seconds)
        return found


class Cached(Protocol):
    """A cache before a source, as its documentation says to use it."""

    async def get(self, key: str) -> object:
        """The value, loaded if need be."""

    async def invalidate(self, key: str) -> None:
        """Forget a value."""

    async def close(self) -> None:
        """Let go of connections."""
