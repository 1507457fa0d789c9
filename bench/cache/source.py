"""The cached source, which counts its loads, and the interface of the compared caches."""

import asyncio
import time
from typing import Any, Protocol

Value = dict[str, Any]
TTL_SECONDS = 600

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
        value: The value of every key.
        seconds: Duration of a load.
    """

    def __init__(self, value: Value, seconds: float = 0.0) -> None:
        self.value = value
        self.seconds = seconds
        self.loads = 0

    async def load(self, _key: str) -> Value:
        """Load asynchronously; the value is read at the start."""
        self.loads += 1
        found = self.value
        await asyncio.sleep(self.seconds)
        return found

    def load_blocking(self, _key: str) -> Value:
        """Load in a thread."""
        self.loads += 1
        found = self.value
        time.sleep(self.seconds)
        return found


class Cached(Protocol):
    """A cache in front of a source, used as its documentation says."""

    async def get(self, key: str) -> object:
        """Get the value, loaded if needed."""

    async def invalidate(self, key: str) -> None:
        """Invalidate a value."""

    async def close(self) -> None:
        """Close connections."""
