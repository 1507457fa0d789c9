"""Invalidations that could not be delivered, kept until they can be."""

from collections.abc import Callable, Iterable

from service.cache.core.store import Mark


class Outbox:
    """Owed marks, bounded: who owes too many owes everything instead.

    Args:
        everything: The marks that stand for all others.
        limit: Marks kept.
    """

    def __init__(self, everything: Callable[[], tuple[Mark, ...]], limit: int = 1000) -> None:
        self.everything = everything
        self._limit = limit
        self._owed: dict[Mark, None] = {}
        self._under_way: dict[Mark, None] = {}

    def __bool__(self) -> bool:
        return bool(self._owed or self._under_way)

    def add(self, marks: Iterable[Mark]) -> None:
        """Owe marks."""
        self._owed.update(dict.fromkeys(marks))
        if len(self._owed) > self._limit:
            self._owed = dict.fromkeys(self.everything())

    def take(self) -> tuple[Mark, ...]:
        """Take what is owed, to deliver it; ``settle`` or ``put_back`` must follow."""
        self._owed, self._under_way = {}, self._owed
        return tuple(self._under_way)

    def settle(self) -> None:
        """What was taken is delivered."""
        self._under_way = {}

    def put_back(self) -> None:
        """What was taken is still owed, with what was added meanwhile."""
        taken, self._under_way = self._under_way, {}
        self.add(taken)
