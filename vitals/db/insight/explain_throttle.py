"""Explain throttle: how often the plan of a statement is taken again.

A plan is taken again while its statement stays slow, sooner when it has become slower: the plan
that was right before an index was dropped explains nothing afterwards.
"""

from collections import OrderedDict
from threading import RLock
from time import monotonic

from vitals.db.statements.log_throttle import MAX_KEYS, MINUTE

SLOWDOWN = 2.0
"""How many times as long a statement takes that has become slower."""
SLOWDOWN_INTERVAL = 30.0
"""Seconds between two plans of a statement that becomes slower and slower."""


class ExplainThrottle:
    """Limits how often statements are explained; bounded and thread-safe.

    Args:
        interval: Seconds between two plans of a statement that stays as slow.
        per_minute: Plans per minute of all statements together.
    """

    def __init__(self, interval: float, per_minute: int) -> None:
        self._interval = interval
        self._per_minute = per_minute
        self._explained: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._minute = monotonic()
        self._this_minute = 0
        self._lock = RLock()  # reentrant: a finalizer may send a statement meanwhile

    def allows(self, fingerprint: str, seconds: float) -> bool:
        """Whether to explain a statement now that took so many seconds."""
        with self._lock:
            return self._allows(fingerprint, seconds)

    def _allows(self, fingerprint: str, seconds: float) -> bool:
        now = monotonic()
        if now - self._minute >= MINUTE:
            self._minute, self._this_minute = now, 0
        if self._this_minute >= self._per_minute:
            return False
        known = self._explained.get(fingerprint)
        if known is not None:
            when, took = known
            slower = seconds >= SLOWDOWN * took
            interval = min(SLOWDOWN_INTERVAL, self._interval) if slower else self._interval
            if now - when < interval:
                return False
        self._this_minute += 1
        self._explained[fingerprint] = now, seconds
        self._explained.move_to_end(fingerprint)
        if len(self._explained) > MAX_KEYS:
            self._explained.popitem(last=False)
        return True
