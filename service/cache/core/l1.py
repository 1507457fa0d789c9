"""What this process keeps of Redis for a moment, as long as it hears of every invalidation."""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from service.cache.core.codec import Rendered
from service.cache.core.store import Place, Region

SLOTS = 1024
ENTRY_OVERHEAD_BYTES = 700
"""What an entry costs beside its payload: objects, dictionaries, sets (measured on 3.11)."""
Ticket = tuple[int, int]


@dataclass(slots=True)
class Kept:
    """A value that is kept.

    Attributes:
        payload: The codec's bytes.
        rendered: The same as it is sent; None if there is none.
        until: The end of its life, on the clock of the layer.
    """

    payload: bytes
    rendered: Rendered | None
    until: float = 0.0
    place: Place = field(default_factory=lambda: Place(Region(""), "", ()))

    @property
    def size(self) -> int:
        """Bytes, about."""
        return 2 * len(self.payload) + ENTRY_OVERHEAD_BYTES


class Near:
    """Values by name; off until ``reset(live=True)``.

    Whoever wants to put a value takes a ticket before reading it from Redis. What is invalidated
    meanwhile makes the ticket worthless.

    Args:
        max_bytes: Bytes over all namespaces; those put first go first.
    """

    def __init__(
        self, *, max_bytes: int = 32 * 2**20, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.live = False
        self._max_bytes = max_bytes
        self._clock = clock
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._under: dict[str, set[str]] = {}
        self._bytes: Counter[Region] = Counter()
        self._total = 0
        self._epoch = 0
        self._slots = [0] * SLOTS

    def get(self, name: str) -> Kept | None:
        """What is kept and has not expired."""
        kept = self._kept.get(name)
        if kept is None or kept.until > self._clock():
            return kept
        self._remove(name)
        return None

    def ticket(self, name: str) -> Ticket | None:
        """What ``put`` wants to see; None while nothing is kept."""
        return (self._epoch, self._slots[hash(name) % SLOTS]) if self.live else None

    def put(self, place: Place, ticket: Ticket | None, kept: Kept, seconds: float) -> None:
        """Keep a value that was read after the ticket was taken."""
        if ticket is None or ticket != self.ticket(place.name):
            return
        self._remove(place.name)
        kept.place, kept.until = place, self._clock() + seconds
        self._kept[place.name] = kept
        for generation in place.generations:
            self._under.setdefault(generation, set()).add(place.name)
        self._count(place.region, kept.size)
        while self._total > self._max_bytes:
            self._remove(next(iter(self._kept)))

    def drop(self, name: str) -> None:
        """Forget a value, or all of a generation, and refuse those on their way."""
        if self._kept or self.live:
            self._slots[hash(name) % SLOTS] += 1
            self._remove(name)
        if ":" not in name or name.startswith("tag:"):  # a generation
            self._epoch += 1
            for under in list(self._under.get(name, ())):
                self._remove(under)

    def reset(self, *, live: bool) -> None:
        """Forget everything, and begin or stop to keep."""
        self._epoch += 1
        for name in list(self._kept):
            self._remove(name)
        self.live = live

    def _remove(self, name: str) -> None:
        kept = self._kept.pop(name, None)
        if kept is None:
            return
        for generation in kept.place.generations:
            names = self._under[generation]
            names.discard(name)
            if not names:
                del self._under[generation]
        self._count(kept.place.region, -kept.size)

    def _count(self, region: Region, size: int) -> None:
        self._total += size
        self._bytes[region] += size
        region.report.l1_bytes(self._bytes[region])
