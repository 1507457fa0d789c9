"""What a store of cached bytes must do, whether it lives in this process or in Redis.

A loaded value may be stored only if nothing invalidated its key since the load began. So whoever
wants to load first makes a claim, and filling names the claim: a store that does not know it any
more (invalidated, expired, evicted, restarted) refuses the value, which costs one more load and
never serves a stale one.
"""

from dataclasses import dataclass, field
from typing import Literal, Protocol

from service.cache.report import Report, Silent
from vitals.caching import Layer


class StoreUnavailableError(Exception):
    """The store gave no answer; the caller goes on without it.

    Attributes:
        result: ``"error"`` when it was asked in vain, ``"bypass"`` when it was not even asked.
    """

    def __init__(self, result: Literal["error", "bypass"]) -> None:
        super().__init__(f"the cache's store is unavailable ({result})")
        self.result = result


@dataclass(frozen=True)
class Region:
    """One namespace as a store sees it: a name, and whom to tell."""

    name: str
    report: Report = field(default_factory=Silent, compare=False)


@dataclass(frozen=True)
class Claim:
    """The right to store one value, as long as its key is not invalidated.

    Attributes:
        region: Where the value belongs.
        key: Its key there.
        token: What the store must still know when the value is to be stored.
        generation: The region's generation, likewise.
        stored: What was stored meanwhile, by somebody quicker.
    """

    region: Region
    key: str
    token: bytes
    generation: bytes
    stored: bytes | None = field(default=None, compare=False)


@dataclass
class Patience:
    """The seconds one caller may still wait for the store, over all its commands together."""

    left: float


class Backend(Protocol):
    """A store of bytes by region and key. Every method may raise ``StoreUnavailableError``."""

    layer: Layer
    timeout: float
    """Seconds that one caller may have to wait for it."""

    def register(self, region: Region) -> None:
        """Make a region known, before its first use."""

    async def read(self, region: Region, key: str, patience: Patience) -> bytes | None:
        """Return what is stored and still valid."""

    async def claim(self, region: Region, key: str, patience: Patience) -> Claim:
        """Announce a load of the key."""

    async def fill(self, claim: Claim, stored: bytes, ttl: float, patience: Patience) -> bool:
        """Store for ``ttl`` seconds if the claim still holds; tell whether it did."""

    async def invalidate(self, region: Region, keys: tuple[str, ...]) -> None:
        """Drop keys and every claim on them. Never raises: what cannot be done now is owed."""

    async def clear(self, region: Region) -> None:
        """Drop a whole region likewise."""

    async def ping(self) -> bool:
        """Tell whether the store answers."""

    async def close(self) -> None:
        """Let go of connections and tasks."""
