"""Interface of a store of cached bytes, in this process or in Redis.

A loaded value may be stored only if its key was not invalidated since the load began. A loader
therefore acquires a lease first and passes it when it fills. A store that does not know the lease
any more (invalidated, expired, evicted, restarted) refuses the value, which costs one more load and
never serves a stale one. While a write is about to be committed, no lease is granted.
"""

import os
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Literal, Protocol

from vitals.cache.core.metrics import Layer, NullReporter, Reporter

TAG = "tag:"
"""Begins the names of tags."""
INTENT_SECONDS = 15
"""Longer than any COMMIT: the database's driver gives up after 12 s."""


class StoreUnavailableError(Exception):
    """The store did not answer; the caller goes on without it.

    Attributes:
        result: ``"error"`` when the store failed or timed out, ``"bypass"`` when it was not tried.
        refused: The server's replies that are errors, of several commands that were sent at once.
    """

    def __init__(
        self, result: Literal["error", "bypass"], refused: tuple[BaseException, ...] = ()
    ) -> None:
        super().__init__(f"cache store unavailable ({result})")
        self.result = result
        self.refused = refused


@dataclass(unsafe_hash=True)  # its reporter may be set later, its name is never changed
class CacheInfo:
    """A namespace as a store sees it: its name and the reporter of its metrics."""

    name: str
    reporter: Reporter = field(default_factory=NullReporter, compare=False)


@dataclass(slots=True)
class EntryRef:
    """Reference to the entry of one value.

    Attributes:
        info: Its namespace.
        name: ``product:42``.
        generations: Names of the namespace and the tags that the value is invalidated with. Each
            has a random token, and a value is valid only under the tokens it was loaded under.
    """

    info: CacheInfo
    name: str
    generations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InvalidationTarget:
    """An entry or a generation that a write invalidates.

    Attributes:
        name: Of an entry, or of a generation.
        is_generation: Whether it is a generation: all entries made under it are invalidated.
        info: The namespace that counts the invalidation.
    """

    name: str
    is_generation: bool
    info: CacheInfo = field(compare=False)


@dataclass(slots=True)
class CachedValue:
    """A stored value.

    Attributes:
        payload: The codec's bytes.
        soft_expiry: When it may be refreshed; seconds of the Unix clock.
        load_seconds: How long loading it took.
    """

    payload: bytes
    soft_expiry: float
    load_seconds: float


@dataclass(slots=True)
class Lookup:
    """Result of a lookup in the store.

    Attributes:
        stamp: Tokens of the entry's generations; None if one is missing or has a pending write.
        value: The value, if a valid one is stored.
        write_pending: Whether a write of a generation is about to be committed.
        is_corrupt: Whether the stored bytes cannot be read.
    """

    stamp: bytes | None
    value: CachedValue | None = None
    write_pending: bool = False
    is_corrupt: bool = False


class LeaseOutcome(Enum):
    """Result of acquiring a lease."""

    GRANTED = auto()
    """Load and fill."""
    FOUND = auto()
    """Another caller has filled the entry meanwhile."""
    HELD = auto()
    """Another caller is loading."""
    WRITE_PENDING = auto()
    """A write is about to be committed: load, but store nothing."""


@dataclass(frozen=True, slots=True)
class FillLease:
    """Right to store one value, with a fencing token; any invalidation of its entry ends it.

    Attributes:
        ref: The entry.
        outcome: Whether the lease was granted.
        token: What the store must still know when the value is stored.
        stamp: Tokens of the generations when the lease was acquired.
        value: The value that another caller stored meanwhile.
    """

    ref: EntryRef
    outcome: LeaseOutcome
    token: bytes = b""
    stamp: bytes = b""
    value: CachedValue | None = None


@dataclass
class TimeoutBudget:
    """Seconds that one caller may still wait for the store, over all its commands together."""

    remaining: float


def new_token() -> bytes:
    """Return a token that identifies one write."""
    return os.urandom(8)


@dataclass(frozen=True)
class WriteIntent:
    """A write that is about to be committed.

    Attributes:
        targets: What it invalidates.
        delivered: Whether the store knows it; if not, the write must be recorded elsewhere.
        token: Distinguishes it from other writes of the same targets.
    """

    targets: tuple[InvalidationTarget, ...]
    delivered: bool = True
    token: bytes = field(default_factory=new_token)


class Store(Protocol):
    """A store of bytes by entry. Reading and filling may raise ``StoreUnavailableError``."""

    layer: Layer
    timeout: float
    """Seconds that one caller may have to wait for it."""

    def register(self, info: CacheInfo) -> None:
        """Register a namespace before its first use; again when it has another reporter."""

    async def read(self, ref: EntryRef) -> Lookup:
        """Look up what is stored and still valid."""

    async def acquire_lease(
        self, ref: EntryRef, lookup: Lookup, budget: TimeoutBudget, *, replace: bool = False
    ) -> FillLease:
        """Announce a load; with ``replace``, of a value that is stored and has not expired."""

    async def renew_lease(self, lease: FillLease) -> None:
        """Extend the lease while the load goes on."""

    async def fill(
        self, lease: FillLease, value: CachedValue, ttl: float, budget: TimeoutBudget
    ) -> bool:
        """Store for ``ttl`` seconds if the lease still holds; return whether it did."""

    async def release_lease(self, lease: FillLease) -> None:
        """Let another caller load. Never raises."""

    async def intend(self, intent: WriteIntent) -> WriteIntent:
        """Drop values, and refuse fills until the intent is released. Never raises.

        Returns:
            The intent, with whether it was delivered. If it was not, this process bypasses the
            store until it was, or until the write is over.
        """

    def hold(self, intent: WriteIntent) -> None:
        """Announce a write without waiting: to this process; to others when it is delivered."""

    async def invalidate(
        self, targets: tuple[InvalidationTarget, ...], intent: WriteIntent | None = None
    ) -> None:
        """Drop values and leases, and end an intent. Never raises: failures are queued."""

    async def ping(self) -> bool:
        """Return whether the store answers."""

    def reopen(self) -> None:
        """Serve again, after ``close`` or on another event loop."""

    async def close(self) -> None:
        """Release connections and tasks."""
