"""What a cache tells about itself; the kit's reporter fits the protocol, and so does silence."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from vitals.cache_metrics import Layer, Outcome, Refusal, Result


class Report(Protocol):
    """Receives what one namespace of the cache does. No method raises, all are cheap.

    ``vitals.cache_metrics.CacheReporter`` is the one that measures.
    """

    def request(self, layer: Layer, result: Result, /) -> None:
        """A look-up ended: ``hit``, ``negative``, ``miss``, ``error`` or ``bypass``."""

    def operation(self, name: str, /) -> AbstractContextManager[object]:
        """Time a command to the store."""

    def load(self) -> AbstractContextManager[object]:
        """Time a load of a value that was missing."""

    def fill_rejected(self) -> None:
        """A loaded value was not stored: it was invalidated while it loaded."""

    def refused(self, reason: Refusal, /) -> None:
        """A value was not used or not stored: it was not what was expected."""

    def invalidation(self, outcome: Outcome, /) -> None:
        """An invalidation is done (``ok``), owed (``queued``) or lost (``failed``)."""

    def breaker(self, *, open_: bool) -> None:
        """The store is left alone from now on, or is asked again."""

    def bus_connected(self, *, connected: bool) -> None:
        """Invalidations of other processes are heard, or not any more."""

    def l1_bytes(self, size: int, /) -> None:
        """Bytes the namespace holds in this process."""


class Silent:
    """The report of a namespace that nobody watches."""

    def request(self, _layer: Layer, _result: Result, /) -> None:
        """Say nothing."""

    def operation(self, _name: str, /) -> AbstractContextManager[object]:
        """Time nothing."""
        return nullcontext()

    def load(self) -> AbstractContextManager[object]:
        """Time nothing."""
        return nullcontext()

    def fill_rejected(self) -> None:
        """Say nothing."""

    def refused(self, _reason: Refusal, /) -> None:
        """Say nothing."""

    def invalidation(self, _outcome: Outcome, /) -> None:
        """Say nothing."""

    def breaker(self, *, open_: bool) -> None:
        """Say nothing."""

    def bus_connected(self, *, connected: bool) -> None:
        """Say nothing."""

    def l1_bytes(self, _size: int, /) -> None:
        """Say nothing."""
