"""A circuit breaker: what fails again and again is left alone for a moment."""

import time
from collections.abc import Callable

FAILURES = 3
PAUSE_SECONDS = 1.0


class Breaker:
    """Opens after some failures in a row, and after a pause lets one probe through.

    Every admitted attempt must end in exactly one of ``succeeded``, ``failed`` or ``abandoned``.

    Args:
        changed: Called with True when the breaker opens and False when it closes.
        failures: Failures in a row that open it.
        pause: Seconds between probes while it is open.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        changed: Callable[[bool], None] = lambda _open: None,
        *,
        failures: int = FAILURES,
        pause: float = PAUSE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._changed = changed
        self._limit = failures
        self._pause = pause
        self._clock = clock
        self._failed = 0
        self._retry_at = 0.0
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether attempts are refused, but for a probe now and then."""
        return self._failed >= self._limit

    def admits(self) -> bool:
        """Tell whether an attempt may be made; while open, only the one probe may."""
        if not self.is_open:
            return True
        if self._probing or self._clock() < self._retry_at:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """Close."""
        was_open, self._failed, self._probing = self.is_open, 0, False
        if was_open:
            self._changed(False)

    def failed(self) -> None:
        """Count a failure, and open when it was one too many."""
        was_open = self.is_open
        self._failed, self._probing = self._failed + 1, False
        if self.is_open:
            self._retry_at = self._clock() + self._pause
            if not was_open:
                self._changed(True)

    def abandoned(self) -> None:
        """The attempt's caller left before the outcome was known: let another one probe."""
        self._probing = False
