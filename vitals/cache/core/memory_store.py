"""In-process store, used when no Redis is configured."""

import os
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from vitals.cache.core.metrics import Layer
from vitals.cache.core.store import (
    CachedValue,
    CacheInfo,
    EntryRef,
    FillLease,
    InvalidationTarget,
    LeaseOutcome,
    Lookup,
    TimeoutBudget,
    WriteIntent,
)

SLOTS = 4096
ENTRY_OVERHEAD_BYTES = 350
"""What an entry costs beside its name and value: dictionary, tuple, objects (measured on 3.11)."""
INTENT_SECONDS = 15.0
_FIRST = b"\0" * 8


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored value, with its stamp and its expiry on the store's clock."""

    value: CachedValue
    info: CacheInfo
    stamp: bytes
    expires: float
    size: int


class MemoryStore:
    """LRU store, bounded in bytes and entries.

    A lease's token is the count of invalidations in the name's slot. Names share slots, so that
    the bookkeeping is bounded as well: now and then an invalidation of another name in the slot
    costs a load.
    """

    layer: Layer = "l1"
    timeout = 1.0  # never needed: nothing here waits

    def __init__(
        self,
        *,
        max_bytes: int = 64 * 2**20,
        max_entries: int = 100_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._clock = clock
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._bytes: Counter[CacheInfo] = Counter()
        self._slots = [0] * SLOTS
        self._generations: OrderedDict[str, bytes] = OrderedDict()
        self._writers: dict[str, dict[bytes, float]] = {}

    def register(self, info: CacheInfo) -> None:
        """Register a namespace."""
        info.reporter.l1_bytes(0)

    def disable(self) -> bool:
        """Store nothing from now on; return whether it stored until now."""
        self._max_bytes, was = 0, self._max_bytes
        return was > 0

    async def read(self, ref: EntryRef) -> Lookup:
        """Look up what is stored and still valid."""
        if self._has_writers(ref.generations):
            return Lookup(None, write_pending=True)
        stamp = self._stamp(ref)
        entry = self._entries.get(ref.name)
        if entry is None:
            return Lookup(stamp)
        if entry.stamp != stamp or entry.expires <= self._clock():
            self._drop(ref.name)
            return Lookup(stamp)
        self._entries.move_to_end(ref.name)
        return Lookup(stamp, entry.value)

    async def acquire_lease(
        self,
        ref: EntryRef,
        lookup: Lookup,  # noqa: ARG002 - the protocol's signature
        budget: TimeoutBudget,  # noqa: ARG002 - the same
        *,
        replace: bool = False,  # noqa: ARG002 - the same
    ) -> FillLease:
        """Return a lease with the invalidation count of the name's slot."""
        if self._has_writers((ref.name, *ref.generations)):
            return FillLease(ref, LeaseOutcome.WRITE_PENDING)
        return FillLease(ref, LeaseOutcome.GRANTED, self._token(ref), self._stamp(ref))

    async def renew_lease(self, lease: FillLease) -> None:
        """Do nothing: leases do not expire here."""

    async def release_lease(self, lease: FillLease) -> None:
        """Do nothing: no caller waits for a lease here."""

    async def fill(
        self, lease: FillLease, value: CachedValue, ttl: float, _budget: TimeoutBudget
    ) -> bool:
        """Store unless the entry was invalidated since the lease was acquired."""
        ref = lease.ref
        if (
            lease.token != self._token(ref)
            or lease.stamp != self._stamp(ref)
            or self._has_writers((ref.name, *ref.generations))
        ):
            return False
        self._drop(ref.name)
        size = len(value.payload) + len(ref.name) + ENTRY_OVERHEAD_BYTES
        if size <= self._max_bytes:
            expires = self._clock() + ttl
            self._entries[ref.name] = Entry(value, ref.info, lease.stamp, expires, size)
            self._bytes[ref.info] += size
            while len(self._entries) > self._max_entries or self._bytes.total() > self._max_bytes:
                self._drop(next(iter(self._entries)))
        ref.info.reporter.l1_bytes(self._bytes[ref.info])
        return True

    async def intend(self, intent: WriteIntent) -> WriteIntent:
        """Record a pending write."""
        self.hold(intent)
        return intent

    def hold(self, intent: WriteIntent) -> None:
        """Record a pending write."""
        targets = intent.targets
        for target in targets:
            self._invalidate(target)
            writers = self._writers.pop(target.name, {})
            writers[intent.token] = self._clock() + INTENT_SECONDS
            self._writers[target.name] = writers  # re-inserted: the oldest stay first
        # Drop expired intents of the oldest names: they may never be looked up again.
        oldest = islice(self._writers, 2 * len(targets))
        self._has_writers((*oldest, *(target.name for target in targets)))

    async def invalidate(
        self, targets: tuple[InvalidationTarget, ...], intent: WriteIntent | None = None
    ) -> None:
        """Drop values, and refuse fills by loads in progress."""
        for target in targets:
            if intent is not None and target.name in self._writers:
                self._writers[target.name].pop(intent.token, None)
            self._has_writers((target.name,))
            self._invalidate(target)
            target.info.reporter.invalidation("ok")

    async def ping(self) -> bool:
        """Return True: memory is always available."""
        return True

    def reopen(self) -> None:
        """Do nothing: memory needs no event loop."""

    async def close(self) -> None:
        """Drop everything."""
        self._entries.clear()
        self._bytes.clear()

    def _invalidate(self, target: InvalidationTarget) -> None:
        if not target.is_generation:
            self._slots[self._slot(target.name)] += 1
            self._drop(target.name)
            return
        self._generations[target.name] = os.urandom(8)
        self._generations.move_to_end(target.name)
        if len(self._generations) > self._max_entries:
            # An evicted tag gets its first token again, so entries made under it must go.
            self._generations.popitem(last=False)
            self._entries.clear()
            self._bytes.clear()
        for name in [n for n, e in self._entries.items() if e.info.name == target.name]:
            self._drop(name)

    def _has_writers(self, names: tuple[str, ...]) -> bool:
        if not self._writers:
            return False
        now, found = self._clock(), False
        for name in names:
            writers = self._writers.get(name, {})
            for token in [token for token, end in writers.items() if end <= now]:
                del writers[token]
            if not writers:
                self._writers.pop(name, None)
            found = found or bool(writers)
        return found

    def _stamp(self, ref: EntryRef) -> bytes:
        return b"".join(self._generations.get(name, _FIRST) for name in ref.generations)

    def _slot(self, name: str) -> int:
        return hash(name) % SLOTS

    def _token(self, ref: EntryRef) -> bytes:
        return str(self._slots[self._slot(ref.name)]).encode()

    def _drop(self, name: str) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._bytes[entry.info] -= entry.size
            entry.info.reporter.l1_bytes(self._bytes[entry.info])
