"""Restart policy: how long a service that ended waits until it is started again.

The wait doubles from one end to the next, from 1 s to 60 s, and begins at 1 s again after the
service was ready for 60 s. In any ten minutes a service is restarted 10 times at most. There is no
jitter: the services of one stack do not end together because of a common server far away.
"""

from collections import deque

FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
STEADY_SECONDS = 60.0
"""After being ready for this long, a service waits `FIRST_WAIT` again."""
MAX_RESTARTS = 10
WINDOW = 600.0
"""Seconds in which a service is restarted `MAX_RESTARTS` times at most."""
DEPENDENCY_SECONDS = 30.0
"""How long a restart waits, beyond that, for services that it depends on."""


class RestartPolicy:
    """The waits of one service."""

    def __init__(self) -> None:
        self._next_wait = FIRST_WAIT
        self._restarts: deque[float] = deque(maxlen=MAX_RESTARTS)

    def plan(self, now: float, ready_seconds: float) -> float:
        """Plan the restart of a service that has just ended.

        Args:
            now: The time of the end, on a monotonic clock.
            ready_seconds: How long it was ready; 0 if it never was.

        Returns:
            The time of the restart, on the same clock.
        """
        if ready_seconds >= STEADY_SECONDS:
            self._next_wait = FIRST_WAIT
        due = now + self._next_wait
        self._next_wait = min(2 * self._next_wait, LONGEST_WAIT)
        if len(self._restarts) == MAX_RESTARTS:
            due = max(due, self._restarts[0] + WINDOW)
        self._restarts.append(due)
        return due
