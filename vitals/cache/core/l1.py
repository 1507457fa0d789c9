"""L1 cache: short-lived copies of Redis values in this process, active while subscribed."""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from vitals.cache.core.codec import Rendered
from vitals.cache.core.store import CacheInfo, EntryRef

SLOTS = 1024
ENTRY_OVERHEAD_BYTES = 700
"""What an entry costs beside its payload: objects, dictionaries, sets (measured on 3.11)."""
L1Ticket = tuple[int, int]


@dataclass(slots=True)
class L1Entry:
    """A value in the L1 cache.

    Attributes:
        payload: The codec's bytes.
        rendered: The same, ready to send; None for a negative entry.
        expires: When it expires, on the cache's clock.
        ref: The entry in Redis.
    """

    payload: bytes
    rendered: Rendered | None
    expires: float = 0.0
    ref: EntryRef = field(default_factory=lambda: EntryRef(CacheInfo(""), "", ()))

    @property
    def size(self) -> int:
        """Bytes, estimated."""
        return 2 * len(self.payload) + ENTRY_OVERHEAD_BYTES


class L1Cache:
    """Values by name; inactive until ``reset(active=True)``.

    To put a value, a caller takes a ticket before it reads Redis. An invalidation in between makes
    the ticket invalid.

    Args:
        max_bytes: Limit over all namespaces; the oldest entries are evicted first.
        clock: Seconds.
    """

    def __init__(
        self, *, max_bytes: int = 32 * 2**20, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.active = False
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[str, L1Entry] = OrderedDict()
        self._names_by_generation: dict[str, set[str]] = {}
        self._bytes: Counter[CacheInfo] = Counter()
        self._total = 0
        self._epoch = 0
        self._slots = [0] * SLOTS

    def get(self, name: str) -> L1Entry | None:
        """Return the entry if it has not expired."""
        entry = self._entries.get(name)
        if entry is None or entry.expires > self._clock():
            return entry
        self._remove(name)
        return None

    def ticket(self, name: str) -> L1Ticket | None:
        """Return a ticket for ``put``; None while inactive."""
        return (self._epoch, self._slots[hash(name) % SLOTS]) if self.active else None

    def put(self, ref: EntryRef, ticket: L1Ticket | None, entry: L1Entry, seconds: float) -> None:
        """Store a value that was read after the ticket was taken."""
        if ticket is None or ticket != self.ticket(ref.name):
            return
        self._remove(ref.name)
        entry.ref, entry.expires = ref, self._clock() + seconds
        self._entries[ref.name] = entry
        for generation in ref.generations:
            self._names_by_generation.setdefault(generation, set()).add(ref.name)
        self._count(ref.info, entry.size)
        while self._total > self._max_bytes:
            self._remove(next(iter(self._entries)))

    def drop(self, name: str) -> None:
        """Drop an entry, or all entries of a generation, and invalidate open tickets."""
        if self._entries or self.active:
            self._slots[hash(name) % SLOTS] += 1
            self._remove(name)
        if ":" not in name or name.startswith("tag:"):  # a generation
            self._epoch += 1
            for dependent in list(self._names_by_generation.get(name, ())):
                self._remove(dependent)

    def reset(self, *, active: bool) -> None:
        """Drop everything, and activate or deactivate the cache."""
        self._epoch += 1
        for name in list(self._entries):
            self._remove(name)
        self.active = active

    def _remove(self, name: str) -> None:
        entry = self._entries.pop(name, None)
        if entry is None:
            return
        for generation in entry.ref.generations:
            names = self._names_by_generation[generation]
            names.discard(name)
            if not names:
                del self._names_by_generation[generation]
        self._count(entry.ref.info, -entry.size)

    def _count(self, info: CacheInfo, size: int) -> None:
        self._total += size
        self._bytes[info] += size
        info.reporter.l1_bytes(self._bytes[info])
