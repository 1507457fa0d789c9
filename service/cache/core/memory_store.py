"""The store inside this process: what runs when no Redis is configured."""

import os
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from service.cache.core.store import (
    Claim,
    Found,
    Intent,
    Look,
    Mark,
    Patience,
    Place,
    Region,
    Verdict,
)
from vitals.cache_metrics import Layer

SLOTS = 4096
ENTRY_OVERHEAD_BYTES = 350
"""What an entry costs beside its name and value: dictionary, tuple, objects (measured on 3.11)."""
INTENT_SECONDS = 15.0
_FIRST = b"\0" * 8


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored value, under which stamp, and the moment (on the store's clock) it expires."""

    value: Found
    region: Region
    stamp: bytes
    expires: float
    size: int


class MemoryBackend:
    """Values by name, bounded in bytes and entries; the least recently used one goes.

    A claim is the count of invalidations in the name's slot. Slots are shared by names, so that
    the bookkeeping is bounded as well: now and then a neighbour's invalidation costs a load.
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
        self._bytes: Counter[Region] = Counter()
        self._slots = [0] * SLOTS
        self._generations: OrderedDict[str, bytes] = OrderedDict()
        self._writing: dict[str, dict[bytes, float]] = {}

    def register(self, region: Region) -> None:
        """Make a region known."""
        region.report.l1_bytes(0)

    async def read(self, place: Place) -> Look:
        """Return what is stored and still valid."""
        if self._is_written(place.generations):
            return Look(None, closed=True)
        stamp = self._stamp(place)
        entry = self._entries.get(place.name)
        if entry is None:
            return Look(stamp)
        if entry.stamp != stamp or entry.expires <= self._clock():
            self._drop(place.name)
            return Look(stamp)
        self._entries.move_to_end(place.name)
        return Look(stamp, entry.value)

    async def claim(
        self,
        place: Place,
        look: Look,  # noqa: ARG002 - the protocol's signature
        patience: Patience,  # noqa: ARG002 - the same
        *,
        again: bool = False,  # noqa: ARG002 - the same
    ) -> Claim:
        """Remember how often the name's slot was invalidated."""
        if self._is_written((place.name, *place.generations)):
            return Claim(place, Verdict.CLOSED)
        return Claim(place, Verdict.GRANTED, self._token(place), self._stamp(place))

    async def renew(self, claim: Claim) -> None:
        """Nothing ends by itself here."""

    async def give_up(self, claim: Claim) -> None:
        """Nobody waits here."""

    async def fill(self, claim: Claim, value: Found, ttl: float, _patience: Patience) -> bool:
        """Store unless the place was invalidated since the claim."""
        place = claim.place
        if (
            claim.token != self._token(place)
            or claim.stamp != self._stamp(place)
            or self._is_written((place.name, *place.generations))
        ):
            return False
        self._drop(place.name)
        size = len(value.payload) + len(place.name) + ENTRY_OVERHEAD_BYTES
        if size <= self._max_bytes:
            expires = self._clock() + ttl
            self._entries[place.name] = Entry(value, place.region, claim.stamp, expires, size)
            self._bytes[place.region] += size
            while len(self._entries) > self._max_entries or self._bytes.total() > self._max_bytes:
                self._drop(next(iter(self._entries)))
        place.region.report.l1_bytes(self._bytes[place.region])
        return True

    async def intend(self, intent: Intent) -> Intent:
        """Remember who writes."""
        marks = intent.marks
        for mark in marks:
            self._forget(mark)
            writers = self._writing.pop(mark.name, {})
            writers[intent.token] = self._clock() + INTENT_SECONDS
            self._writing[mark.name] = writers  # at the end: the oldest stand first
        # Whoever failed to commit has left something behind, of which nobody may ask again.
        oldest = islice(self._writing, 2 * len(marks))
        self._is_written((*oldest, *(mark.name for mark in marks)))
        return intent

    async def invalidate(self, marks: tuple[Mark, ...], intent: Intent | None = None) -> None:
        """Drop values, and refuse every load of them under way."""
        for mark in marks:
            if intent is not None and mark.name in self._writing:
                self._writing[mark.name].pop(intent.token, None)
            self._is_written((mark.name,))
            self._forget(mark)
            mark.region.report.invalidation("ok")

    async def ping(self) -> bool:
        """Tell that memory answers."""
        return True

    async def close(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._bytes.clear()

    def _forget(self, mark: Mark) -> None:
        if not mark.whole:
            self._slots[self._slot(mark.name)] += 1
            self._drop(mark.name)
            return
        self._generations[mark.name] = os.urandom(8)
        self._generations.move_to_end(mark.name)
        if len(self._generations) > self._max_entries:
            # A tag that is forgotten counts as new: what was made under it before must go.
            self._generations.popitem(last=False)
            self._entries.clear()
            self._bytes.clear()
        for name in [n for n, e in self._entries.items() if e.region.name == mark.name]:
            self._drop(name)

    def _is_written(self, names: tuple[str, ...]) -> bool:
        if not self._writing:
            return False
        now, found = self._clock(), False
        for name in names:
            writers = self._writing.get(name, {})
            for token in [token for token, end in writers.items() if end <= now]:
                del writers[token]
            if not writers:
                self._writing.pop(name, None)
            found = found or bool(writers)
        return found

    def _stamp(self, place: Place) -> bytes:
        return b"".join(self._generations.get(name, _FIRST) for name in place.generations)

    def _slot(self, name: str) -> int:
        return hash(name) % SLOTS

    def _token(self, place: Place) -> bytes:
        return str(self._slots[self._slot(place.name)]).encode()

    def _drop(self, name: str) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._bytes[entry.region] -= entry.size
            entry.region.report.l1_bytes(self._bytes[entry.region])
