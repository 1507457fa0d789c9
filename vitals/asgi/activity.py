"""Activity: what an application serves at the moment, and who waits for it to serve again."""

from collections.abc import Callable
from typing import Any


class Activity:
    """What an application serves at the moment.

    Attributes:
        requests: The requests in flight; changed on the loop.
        sockets: How many WebSockets are open.
        on_begin: Called by the next request that begins, on its loop; None unless somebody waits
            for one, so that a request pays for a look at an attribute.
    """

    def __init__(self) -> None:
        self.requests: set[Any] = set()
        self.sockets = 0
        self.on_begin: Callable[[], None] | None = None

    @property
    def is_serving(self) -> bool:
        """Whether anything is in flight."""
        return bool(self.requests or self.sockets)
