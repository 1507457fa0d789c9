"""What a store of cached bytes must do, whether it lives in this process or in Redis.

A loaded value may be stored only if nothing invalidated its key since the load began. So whoever
wants to load first makes a claim, and filling names the claim: a store that does not know it any
more (invalidated, expired, evicted, restarted) refuses the value, which costs one more load and
never serves a stale one. While a write is about to be committed, no claim is granted at all.
"""

import os
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Literal, Protocol

from service.cache.core.metrics import Report, Silent
from vitals.cache_metrics import Layer

INTENT_SECONDS = 15
"""Longer than any COMMIT: the database's driver gives up after 12 s."""


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


@dataclass(slots=True)
class Place:
    """Where a value is kept.

    Attributes:
        region: Its namespace.
        name: ``product:42``.
        generations: What it is invalidated with: its namespace and its tags. Each has a random
            token, and a value counts only under the tokens it was loaded under.
    """

    region: Region
    name: str
    generations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that a write invalidates.

    Attributes:
        name: Of a value, or of a generation.
        whole: Whether it is a generation: everything made under it goes.
        region: Whom to tell of it.
    """

    name: str
    whole: bool
    region: Region = field(compare=False)


@dataclass(slots=True)
class Found:
    """A stored value.

    Attributes:
        payload: The codec's bytes.
        soft: From when on it may be refreshed; seconds of the Unix clock.
        took: Seconds that loading it took.
    """

    payload: bytes
    soft: float
    took: float


@dataclass(slots=True)
class Look:
    """What a look-up saw.

    Attributes:
        stamp: The tokens of the place's generations; None if one has none, or is being written.
        found: The value, if there is a valid one.
        closed: Whether a write of a generation is about to be committed.
        spoilt: Whether there is something that cannot be read.
    """

    stamp: bytes | None
    found: Found | None = None
    closed: bool = False
    spoilt: bool = False


class Verdict(Enum):
    """What became of a claim."""

    GRANTED = auto()
    """Load, and fill."""
    FOUND = auto()
    """Somebody quicker has filled."""
    HELD = auto()
    """Somebody else is loading."""
    CLOSED = auto()
    """A write is about to be committed: load, but nothing may be stored."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to store one value, as long as its place is not invalidated.

    Attributes:
        place: Where.
        verdict: What became of it.
        token: What the store must still know when the value is to be stored.
        stamp: The tokens of the generations when it was made.
        found: What was stored meanwhile, by somebody quicker.
    """

    place: Place
    verdict: Verdict
    token: bytes = b""
    stamp: bytes = b""
    found: Found | None = None


@dataclass
class Patience:
    """The seconds one caller may still wait for the store, over all its commands together."""

    left: float


def new_token() -> bytes:
    """What tells a write from all others."""
    return os.urandom(8)


@dataclass(frozen=True)
class Intent:
    """A write that is about to be committed.

    Attributes:
        marks: What it will invalidate.
        delivered: Whether the store knows; if not, the write must be remembered elsewhere.
        token: Tells it from other writes of the same.
    """

    marks: tuple[Mark, ...]
    delivered: bool = True
    token: bytes = field(default_factory=new_token)


class Backend(Protocol):
    """A store of bytes by place. What reads or fills may raise ``StoreUnavailableError``."""

    layer: Layer
    timeout: float
    """Seconds that one caller may have to wait for it."""

    def register(self, region: Region) -> None:
        """Make a region known, before its first use."""

    async def read(self, place: Place) -> Look:
        """Return what is stored and still valid."""

    async def claim(
        self, place: Place, look: Look, patience: Patience, *, again: bool = False
    ) -> Claim:
        """Announce a load; ``again`` if there is a value, to replace it before it expires."""

    async def renew(self, claim: Claim) -> None:
        """Say that the load goes on."""

    async def fill(self, claim: Claim, value: Found, ttl: float, patience: Patience) -> bool:
        """Store for ``ttl`` seconds if the claim still holds; tell whether it did."""

    async def give_up(self, claim: Claim) -> None:
        """Let somebody else load. Never raises."""

    async def intend(self, intent: Intent) -> Intent:
        """Drop values, and let nobody store any until the release. Never raises.

        Returns:
            It, and whether it was delivered. If not, nothing is trusted here until it was, or
            until the write is over.
        """

    async def invalidate(self, marks: tuple[Mark, ...], intent: Intent | None = None) -> None:
        """Drop values and claims, and end an intent. Never raises: what fails is owed."""

    async def ping(self) -> bool:
        """Tell whether the store answers."""

    async def close(self) -> None:
        """Let go of connections and tasks."""
