"""Requests to one Redis server that share a round trip."""

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError

from service.cache.core.store import StoreUnavailableError
from service.cache.redis.connection import Command, pack

Values = tuple[bytes, list[Any]]
"""What identifies the run of the server that answered, and what it holds under each name."""


class Read:
    """Keys that a caller wants to read; its future holds ``Values``.

    Attributes:
        since: When it was asked, by the loop's clock.
        at: Where the keys' values stand among those of its batch.
    """

    __slots__ = ("at", "future", "names", "since")

    def __init__(self, names: tuple[str, ...], loop: asyncio.AbstractEventLoop) -> None:
        self.names = names
        self.at: list[int] = []
        self.since = loop.time()
        self.future: asyncio.Future[Values] = loop.create_future()


class Call:
    """Commands of a caller, packed; its future holds their answers, with errors among them."""

    __slots__ = ("count", "future", "packed", "since")

    def __init__(self, packed: list[bytes], count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.packed = packed
        self.count = count
        self.since = loop.time()
        self.future: asyncio.Future[list[Any]] = loop.create_future()


Request = Read | Call


class Batch:
    """Requests that leave together.

    All were asked before anything is sent, so no answer is older than its request.

    Args:
        requests: At least one, the oldest first.
        together: Whether one MGET may read all keys; nodes of a cluster refuse that.
    """

    def __init__(self, requests: Sequence[Request], *, together: bool) -> None:
        self._requests = requests
        self._together = together
        names: dict[str, int] = {}
        self._names = names
        self.since = requests[0].since
        calls = []
        for request in requests:
            if isinstance(request, Read):
                request.at = [names.setdefault(name, len(names)) for name in request.names]
            else:
                calls.append(request)
        reads: list[Command] = []
        if names:
            reads = [("MGET", *names)] if together else [("GET", name) for name in names]
        self._reads = len(reads)
        self.packed = pack(*reads)
        self.count = self._reads
        for call in calls:
            self.packed += call.packed
            self.count += call.count

    def deliver(self, run: bytes, answers: list[Any]) -> None:
        """Hand every request its answers.

        Args:
            run: Of the server.
            answers: As many as ``count``.

        Raises:
            ValueError: They do not answer the commands.
        """
        at = self._reads
        values = answers[0] if self._together and at else answers[:at]
        refused = values if isinstance(values, RedisError) else None
        if refused is None and (not isinstance(values, list) or len(values) != len(self._names)):
            raise ValueError("redis answered something else than the values of the keys")
        for request in self._requests:
            if isinstance(request, Read):
                if refused is not None:
                    fail(request, refused)
                elif not request.future.done():  # else its caller has left
                    self._deliver_read(request, run, values)
            else:
                if not request.future.done():
                    request.future.set_result(answers[at : at + request.count])
                at += request.count

    def _deliver_read(self, read: Read, run: bytes, values: list[Any]) -> None:
        found = [values[at] for at in read.at]
        if not self._together:  # with an error for each key that has one
            for value in found:
                if isinstance(value, RedisError):
                    fail(read, value)
                    return
        read.future.set_result((run, found))


def fail(request: Request, reason: BaseException) -> None:
    """Tell a request that there is no answer, unless it has one or nobody waits."""
    if not request.future.done():
        error = StoreUnavailableError("error")
        error.__cause__ = reason
        request.future.set_exception(error)
