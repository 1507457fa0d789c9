"""The clock of the store: which times of spans and lines are kept."""

import time

_AHEAD = 600.0
"""Seconds by which a sender's clock may be ahead."""


class Clock:
    """Refuses times that retention would remove at once, and those in the future.

    Args:
        keep: Seconds for which data are kept.
    """

    def __init__(self, keep: float) -> None:
        now = time.time()
        self.now = int(now * 1e9)
        self._first, self._last = int((now - keep) * 1e9), int((now + _AHEAD) * 1e9)

    def refusal(self, moment: int) -> str:
        """Why a time, in nanoseconds since 1970, is refused; empty if it is not."""
        if moment < self._first:
            return "a time before all that is kept"
        if moment > self._last:
            return "a time in the future: check the clock of the sender"
        return ""
