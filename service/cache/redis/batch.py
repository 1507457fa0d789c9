"""Requests to one Redis server that share a round trip."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from redis.exceptions import RedisError

from service.cache.backend import StoreUnavailableError
from service.cache.redis.connection import Command

Values = tuple[bytes, list[Any]]
"""What identifies the run of the server that answered, and what it holds under each name."""
Pack = Callable[[Iterable[Command]], list[bytes]]


class Read:
    """Keys that a caller wants to read; its future holds ``Values``.

    Attributes:
        since: When it was asked, by the loop's clock.
    """

    __slots__ = ("future", "names", "since")

    def __init__(self, names: tuple[str, ...], loop: asyncio.AbstractEventLoop) -> None:
        self.names = names
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
        pack: Writes commands in Redis's protocol.
    """

    def __init__(self, requests: Sequence[Request], *, together: bool, pack: Pack) -> None:
        self._requests = requests
        self._together = together
        self._index: dict[str, int] = {}
        self.since = requests[0].since
        calls = []
        for request in requests:
            if isinstance(request, Read):
                for name in request.names:
                    self._index.setdefault(name, len(self._index))
            else:
                calls.append(request)
        reads: list[Command] = []
        if self._index:
            reads = [("MGET", *self._index)] if together else [("GET", n) for n in self._index]
        self._reads = len(reads)
        self.packed = pack(reads) if reads else []
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
        values = answers[:at] if not (self._together and at) else answers[0]
        if isinstance(values, list) and len(values) != len(self._index):
            raise ValueError("redis answered with another number of values")
        for request in self._requests:
            if isinstance(request, Read):
                if not request.future.done():  # else its caller has left
                    self._deliver_read(request, run, values)
                continue
            if not request.future.done():
                request.future.set_result(answers[at : at + request.count])
            at += request.count

    def fail(self, reason: BaseException) -> None:
        """Tell every request that there is no answer."""
        for request in self._requests:
            fail(request, reason)

    def _deliver_read(self, request: Read, run: bytes, values: Any) -> None:
        if not isinstance(values, list):
            fail(request, values if isinstance(values, RedisError) else ValueError(values))
            return
        found = [values[self._index[name]] for name in request.names]
        error = next((value for value in found if isinstance(value, RedisError)), None)
        if error is None:
            request.future.set_result((run, found))
        else:
            fail(request, error)


def fail(request: Request, reason: BaseException) -> None:
    """Tell a request that there is no answer, unless it has one or nobody waits."""
    if not request.future.done():
        error = StoreUnavailableError("error")
        error.__cause__ = reason
        request.future.set_exception(error)
