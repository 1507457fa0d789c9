"""Invalidations that could not be delivered, kept until they can be."""

from collections.abc import Iterable

from service.cache.backend import Region

EVERYTHING = None
Owed = dict[Region, set[str] | None]
"""Keys to invalidate by region; ``EVERYTHING`` stands for the whole region."""


class Outbox:
    """Owed invalidations, bounded: a region that owes too many keys owes a clearing instead.

    Args:
        limit: Keys kept over all regions together.
    """

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._owed: Owed = {}
        self._under_way: Owed = {}

    def __bool__(self) -> bool:
        return bool(self._owed or self._under_way)

    def add(self, region: Region, keys: Iterable[str] | None) -> None:
        """Owe keys of a region, or ``EVERYTHING`` in it."""
        known = self._owed.setdefault(region, set())
        if keys is EVERYTHING or known is EVERYTHING:
            self._owed[region] = EVERYTHING
            return
        known.update(keys)
        if sum(len(owed or ()) for owed in self._owed.values()) > self._limit:
            self._owed[region] = EVERYTHING

    def take(self) -> Owed:
        """Take what is owed, to deliver it; ``settle`` or ``put_back`` must follow."""
        self._owed, self._under_way = {}, self._owed
        return self._under_way

    def settle(self) -> None:
        """What was taken is delivered."""
        self._under_way = {}

    def put_back(self) -> None:
        """What was taken is still owed, with what was added meanwhile."""
        taken, self._under_way = self._under_way, {}
        for region, keys in taken.items():
            self.add(region, keys)
