"""Requests to one Redis server that share a round trip."""

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError

from vitals.cache.core.store import StoreUnavailableError
from vitals.cache.redis.connection import Command, pack

Values = tuple[bytes, list[Any]]
"""The server's run id, and the value of each name."""


class Read:
    """Keys that a caller reads; its future holds ``Values``.

    Attributes:
        since: When it was queued, by the loop's clock.
        at: Indexes of the keys' values among those of its batch.
    """

    __slots__ = ("at", "future", "names", "since")

    def __init__(self, names: tuple[str, ...], loop: asyncio.AbstractEventLoop) -> None:
        self.names = names
        self.at: list[int] = []
        self.since = loop.time()
        self.future: asyncio.Future[Values] = loop.create_future()


class Call:
    """Packed commands of a caller; its future holds their replies, errors included."""

    __slots__ = ("count", "future", "packed", "since")

    def __init__(self, packed: list[bytes], count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.packed = packed
        self.count = count
        self.since = loop.time()
        self.future: asyncio.Future[list[Any]] = loop.create_future()


Request = Read | Call


class Batch:
    """Requests that are sent together.

    All were queued before anything is sent, so no reply is older than its request.

    Args:
        requests: At least one, the oldest first.
        use_mget: Whether one MGET may read all keys; nodes of a cluster refuse that.
    """

    def __init__(self, requests: Sequence[Request], *, use_mget: bool) -> None:
        self._requests = requests
        self._use_mget = use_mget
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
            reads = [("MGET", *names)] if use_mget else [("GET", name) for name in names]
        self._reads = len(reads)
        self.packed = pack(*reads)
        self.count = self._reads
        for call in calls:
            self.packed += call.packed
            self.count += call.count

    def deliver(self, run_id: bytes, replies: list[Any]) -> None:
        """Set every request's replies.

        Args:
            run_id: Of the server.
            replies: As many as ``count``.

        Raises:
            ValueError: They do not match the commands.
        """
        at = self._reads
        values = replies[0] if self._use_mget and at else replies[:at]
        refused = values if isinstance(values, RedisError) else None
        if refused is None and (not isinstance(values, list) or len(values) != len(self._names)):
            raise ValueError("redis reply does not match the keys")
        for request in self._requests:
            if isinstance(request, Read):
                if refused is not None:
                    fail(request, refused)
                elif not request.future.done():  # else its caller was cancelled
                    self._deliver_read(request, run_id, values)
            else:
                if not request.future.done():
                    request.future.set_result(replies[at : at + request.count])
                at += request.count

    def _deliver_read(self, read: Read, run_id: bytes, values: list[Any]) -> None:
        found = [values[at] for at in read.at]
        if not self._use_mget:  # each GET may have an error of its own
            for value in found:
                if isinstance(value, RedisError):
                    fail(read, value)
                    return
        read.future.set_result((run_id, found))


def fail(request: Request, reason: BaseException) -> None:
    """Fail a request, unless it is done or cancelled."""
    if not request.future.done():
        error = StoreUnavailableError("error")
        error.__cause__ = reason
        request.future.set_exception(error)
