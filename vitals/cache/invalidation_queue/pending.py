"""In-memory set of the invalidations that Redis does not know yet."""

from collections.abc import Callable, Iterable

from vitals.cache.core.store import InvalidationTarget


class PendingInvalidations:
    """Set of undelivered targets; above the limit, the targets of all namespaces replace them.

    Args:
        everything: Returns the targets of all namespaces.
        limit: Most targets kept.
    """

    def __init__(
        self, everything: Callable[[], tuple[InvalidationTarget, ...]], limit: int = 1000
    ) -> None:
        self.everything = everything
        self._limit = limit
        self._pending: dict[InvalidationTarget, None] = {}
        self._in_flight: dict[InvalidationTarget, None] = {}

    def __bool__(self) -> bool:
        return bool(self._pending or self._in_flight)

    def add(self, targets: Iterable[InvalidationTarget]) -> None:
        """Add targets."""
        self._pending.update(dict.fromkeys(targets))
        if len(self._pending) > self._limit:
            self._pending = dict.fromkeys(self.everything())

    def take(self) -> tuple[InvalidationTarget, ...]:
        """Take what is pending to deliver it; ``confirm`` or ``put_back`` must follow."""
        self._pending, self._in_flight = {}, self._pending
        return tuple(self._in_flight)

    def everything_pending(self) -> tuple[InvalidationTarget, ...]:
        """Return what is pending or taken."""
        return (*self._in_flight, *self._pending)

    def confirm(self) -> None:
        """Forget what was taken: it is delivered."""
        self._in_flight = {}

    def put_back(self) -> None:
        """Return what was taken: it is still pending, with what was added meanwhile."""
        taken, self._in_flight = self._in_flight, {}
        self.add(taken)
