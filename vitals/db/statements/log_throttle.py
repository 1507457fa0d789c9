"""How often a thing may be said: the same one once an interval, all together so many a minute."""

from collections import OrderedDict
from threading import RLock
from time import monotonic

MINUTE = 60.0
KEYS = 1_000


class Pace:
    """Limits repeated messages and counts what was held back.

    Args:
        interval: Seconds between two messages of one key.
        a_minute: Messages a minute of all keys together.
    """

    def __init__(self, interval: float, a_minute: int) -> None:
        self._interval = interval
        self._a_minute = a_minute
        self._said: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._minute = monotonic()
        self._this_minute = 0
        self._lock = RLock()  # the garbage collector may have something to say meanwhile

    def allows(self, key: str) -> int | None:
        """Whether to speak now: how many were held back since the last time, or None for no."""
        now = monotonic()
        with self._lock:
            if now - self._minute >= MINUTE:
                self._minute, self._this_minute = now, 0
            last, held = self._said.pop(key, (-self._interval, 0))
            if now - last < self._interval or self._this_minute >= self._a_minute:
                self._said[key] = (last, held + 1)
                if len(self._said) > KEYS:
                    self._said.popitem(last=False)
                return None
            self._this_minute += 1
            self._said[key] = (now, 0)
            if len(self._said) > KEYS:
                self._said.popitem(last=False)
        return held
