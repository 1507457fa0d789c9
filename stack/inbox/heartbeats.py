"""The other end of the watchdog: who sends nothing any more is noticed.

Outside of this machine a service such as healthchecks.io does this; here it is the inbox.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock

FOREVER = float("inf")


@dataclass
class Heartbeat:
    """One sender.

    Attributes:
        heard: When last, ISO 8601, UTC.
        due: When it must be heard again, on the monotonic clock.
        silent: Whether it was not.
    """

    heard: str
    due: float
    silent: bool = False


class Heartbeats:
    """Senders by name; threads share it.

    Args:
        tell: Called with a sender's name, whether it fell silent, and when it was heard before.
        clock: Seconds that only rise.
    """

    def __init__(
        self, tell: Callable[[str, bool, str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tell = tell
        self._clock = clock
        self._known: dict[str, Heartbeat] = {}
        self._lock = Lock()

    def hear(self, name: str, within: float = FOREVER) -> None:
        """Note a heartbeat; the next one must come within so many seconds."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._lock:
            before = self._known.get(name)
            self._known[name] = Heartbeat(now, self._clock() + within)
        if before and before.silent:
            self._tell(name, False, before.heard)

    def forget(self, name: str) -> None:
        """Expect no more of it."""
        with self._lock:
            self._known.pop(name, None)

    def look(self) -> None:
        """Notice who fell silent."""
        with self._lock:
            late = [
                (name, each)
                for name, each in self._known.items()
                if not each.silent and self._clock() > each.due
            ]
            for _, each in late:
                each.silent = True
        for name, each in late:
            self._tell(name, True, each.heard)

    def last(self, name: str) -> str:
        """When it was heard last; empty for never."""
        with self._lock:
            return self._known[name].heard if name in self._known else ""
