"""The store inside this process: what runs when no Redis is configured."""

import os
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from service.cache.backend import Claim, Patience, Region
from vitals.caching import Layer

SLOTS = 4096
ENTRY_OVERHEAD_BYTES = 250
"""What an entry costs beside its key and value: dictionary, tuple, floats (measured on 3.11)."""


@dataclass(frozen=True)
class Entry:
    """A stored value and the moment (on the store's clock) it expires."""

    stored: bytes
    expires: float
    size: int


class MemoryBackend:
    """Bytes by region and key, bounded in bytes and entries; the least recently used one goes.

    A claim is the count of invalidations in the key's slot. Slots are shared by keys, so that the
    bookkeeping is bounded as well: now and then a neighbour's invalidation costs a load.
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
        self._entries: OrderedDict[tuple[Region, str], Entry] = OrderedDict()
        self._bytes: Counter[Region] = Counter()
        self._slots = [0] * SLOTS
        self._generations: dict[Region, bytes] = {}

    def register(self, region: Region) -> None:
        """Make a region known."""
        self._generations[region] = os.urandom(8)
        region.report.l1_bytes(0)

    async def read(self, region: Region, key: str, _patience: Patience) -> bytes | None:
        """Return what is stored and has not expired."""
        place = (region, key)
        entry = self._entries.get(place)
        if entry is None:
            return None
        if entry.expires <= self._clock():
            self._drop(place)
            return None
        self._entries.move_to_end(place)
        return entry.stored

    async def claim(self, region: Region, key: str, _patience: Patience) -> Claim:
        """Remember how often the key's slot was invalidated."""
        return self._current(region, key)

    async def fill(self, claim: Claim, stored: bytes, ttl: float, _patience: Patience) -> bool:
        """Store unless the slot or the region was invalidated since the claim."""
        region, key = claim.region, claim.key
        if claim != self._current(region, key):
            return False
        place = (region, key)
        self._drop(place)
        size = len(stored) + len(key) + ENTRY_OVERHEAD_BYTES
        if size <= self._max_bytes:
            self._entries[place] = Entry(stored, self._clock() + ttl, size)
            self._bytes[region] += size
            while len(self._entries) > self._max_entries or self._bytes.total() > self._max_bytes:
                self._drop(next(iter(self._entries)))
        region.report.l1_bytes(self._bytes[region])
        return True

    async def invalidate(self, region: Region, keys: tuple[str, ...]) -> None:
        """Drop the keys, and refuse every load of them under way."""
        for key in keys:
            self._slots[self._slot(region, key)] += 1
            self._drop((region, key))
            region.report.invalidation("ok")

    async def clear(self, region: Region) -> None:
        """Drop every key of the region."""
        self._generations[region] = os.urandom(8)
        for place in [place for place in self._entries if place[0] == region]:
            self._drop(place)
        region.report.invalidation("ok")

    async def ping(self) -> bool:
        """Tell that memory answers."""
        return True

    async def close(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._bytes.clear()

    def _slot(self, region: Region, key: str) -> int:
        return hash((region.name, key)) % SLOTS

    def _current(self, region: Region, key: str) -> Claim:
        token = str(self._slots[self._slot(region, key)]).encode()
        return Claim(region, key, token, self._generations[region])

    def _drop(self, place: tuple[Region, str]) -> None:
        entry = self._entries.pop(place, None)
        if entry is not None:
            self._bytes[place[0]] -= entry.size
            place[0].report.l1_bytes(self._bytes[place[0]])
