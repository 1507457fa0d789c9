"""Heartbeat monitor (dead man's switch): detects that the watchdog alert no longer arrives.

In production a service such as healthchecks.io does this; on this machine it is the inbox.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock

NO_DEADLINE = float("inf")


@dataclass
class Heartbeat:
    """One sender.

    Attributes:
        received: Time of the last heartbeat, ISO 8601, UTC.
        due: Deadline of the next one, on the monotonic clock.
        missed: Whether the deadline has passed.
    """

    received: str
    due: float
    missed: bool = False


class Heartbeats:
    """Heartbeats by sender; thread-safe.

    Args:
        on_change: Called with the sender, whether its heartbeat is missed, and when the last one
            was received.
        clock: A monotonic clock.
    """

    def __init__(
        self,
        on_change: Callable[[str, bool, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_change = on_change
        self._clock = clock
        self._known: dict[str, Heartbeat] = {}
        self._lock = Lock()

    def record(self, name: str, within: float = NO_DEADLINE) -> None:
        """Record a heartbeat; the next one is due within this many seconds."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._lock:
            before = self._known.get(name)
            self._known[name] = Heartbeat(now, self._clock() + within)
        if before and before.missed:
            self._on_change(name, False, before.received)

    def restore(self, name: str, received: str, within: float) -> None:
        """Continue to monitor a sender after a restart; its time begins anew."""
        with self._lock:
            self._known[name] = Heartbeat(received, self._clock() + within)

    def forget(self, name: str) -> None:
        """Stop monitoring a sender."""
        with self._lock:
            self._known.pop(name, None)

    def check(self) -> None:
        """Report heartbeats that are overdue."""
        with self._lock:
            late = [
                (name, each)
                for name, each in self._known.items()
                if not each.missed and self._clock() > each.due
            ]
            for _, each in late:
                each.missed = True
        for name, each in late:
            self._on_change(name, True, each.received)

    def last(self, name: str) -> str:
        """Time of the last heartbeat; empty if there was none."""
        with self._lock:
            return self._known[name].received if name in self._known else ""
