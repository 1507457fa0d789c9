"""The deadline of a query: how long it may take, and what to do when it takes longer."""

import time


class QueryTimeoutError(RuntimeError):
    """A query took too long; the message says what to narrow."""


class Deadline:
    """The moment at which a query ends, with what it has found until then, if it has.

    Args:
        seconds: From now.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return time.monotonic() > self._end

    def check(self) -> None:
        """End the query if it is over; called after each piece of work.

        Raises:
            QueryTimeoutError: It is over.
        """
        # What arrives is stored by another thread, which else would wait for the interpreter.
        time.sleep(0)
        if self.passed:
            raise QueryTimeoutError(
                f"The query took longer than {self._seconds:g} s: choose a shorter time range, or "
                "add an equality of an attribute, such as a service, a route or a trace id."
            )
