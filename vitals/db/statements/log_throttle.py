"""Throttle for log events: one per key and interval, and a limit per minute for all keys."""

from collections import OrderedDict
from threading import RLock
from time import monotonic

MINUTE = 60.0
MAX_KEYS = 1_000


class LogThrottle:
    """Limits repeated log events and counts the suppressed ones.

    Args:
        interval: Seconds between two events of one key.
        per_minute: Events per minute of all keys together.
    """

    def __init__(self, interval: float, per_minute: int) -> None:
        self._interval = interval
        self._per_minute = per_minute
        self._last_logged: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._minute = monotonic()
        self._logged_this_minute = 0
        self._lock = RLock()  # reentrant: a finalizer may log meanwhile

    def allows(self, key: str) -> int | None:
        """Number of events suppressed since the last one; None if this one is suppressed too."""
        now = monotonic()
        with self._lock:
            if now - self._minute >= MINUTE:
                self._minute, self._logged_this_minute = now, 0
            last, suppressed = self._last_logged.pop(key, (-self._interval, 0))
            if now - last < self._interval or self._logged_this_minute >= self._per_minute:
                self._last_logged[key] = (last, suppressed + 1)
                if len(self._last_logged) > MAX_KEYS:
                    self._last_logged.popitem(last=False)
                return None
            self._logged_this_minute += 1
            self._last_logged[key] = (now, 0)
            if len(self._last_logged) > MAX_KEYS:
                self._last_logged.popitem(last=False)
        return suppressed
