"""Protocol of a cache's metrics, which ``vitals.cache.reporter.CacheReporter`` implements."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol

Layer = Literal["l1", "l2"]
Result = Literal["hit", "miss", "stale", "negative", "error", "bypass"]
Refusal = Literal["schema", "corrupt", "too_large"]
Outcome = Literal["ok", "queued", "failed"]


class Reporter(Protocol):
    """Records the events of one cache namespace. No method raises, all are cheap."""

    def request(self, layer: Layer, result: Result, /) -> None:
        """Record a lookup: ``hit``, ``negative``, ``miss``, ``error`` or ``bypass``."""

    def operation(self, name: str, /) -> AbstractContextManager[object]:
        """Time a command to the store."""

    def failed(self, operation: str, error: BaseException, /) -> None:
        """Record what a command to the store failed with that is not timed."""

    def load(self) -> AbstractContextManager[object]:
        """Time a load of a value that was missing."""

    def fill_rejected(self) -> None:
        """Record a loaded value that was not stored: it was invalidated during the load."""

    def refused(self, reason: Refusal, /) -> None:
        """Record a value that was not used or not stored, with the reason."""

    def invalidation(self, outcome: Outcome, /) -> None:
        """Record an invalidation: delivered (``ok``), pending (``queued``) or lost (``failed``)."""

    def breaker(self, *, open_: bool) -> None:
        """Record that the circuit breaker opened or closed."""

    def bus_connected(self, *, connected: bool) -> None:
        """Record whether this process is subscribed to other processes' invalidations."""

    def l1_bytes(self, size: int, /) -> None:
        """Record the bytes that the namespace holds in this process."""


class NullReporter:
    """Reporter that records nothing."""

    def request(self, _layer: Layer, _result: Result, /) -> None:
        """Do nothing."""

    def operation(self, _name: str, /) -> AbstractContextManager[object]:
        """Return a null context."""
        return nullcontext()

    def failed(self, _operation: str, _error: BaseException, /) -> None:
        """Do nothing."""

    def load(self) -> AbstractContextManager[object]:
        """Return a null context."""
        return nullcontext()

    def fill_rejected(self) -> None:
        """Do nothing."""

    def refused(self, _reason: Refusal, /) -> None:
        """Do nothing."""

    def invalidation(self, _outcome: Outcome, /) -> None:
        """Do nothing."""

    def breaker(self, *, open_: bool) -> None:
        """Do nothing."""

    def bus_connected(self, *, connected: bool) -> None:
        """Do nothing."""

    def l1_bytes(self, _size: int, /) -> None:
        """Do nothing."""
