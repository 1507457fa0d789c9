"""Reads that go to Redis together: what several callers ask for is asked once."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hiredis import ReplyError

from service.cache.backend import StoreUnavailableError
from service.cache.wire import Command

Values = tuple[bytes, list[Any]]
"""The origin of the run of Redis that answered, and what it holds under each name."""


@dataclass(slots=True)
class Reader:
    """Somebody who waits for keys, since when, and where to tell them."""

    names: tuple[str, ...]
    since: float
    future: "asyncio.Future[Values]"


class Batch:
    """Readers whose keys are read together.

    They all asked before anything is sent, so what they get is not older than their question.

    Args:
        readers: At least one, the first of whom has waited longest.
        together: Whether one MGET may do it.
    """

    def __init__(self, readers: Sequence[Reader], *, together: bool) -> None:
        self._readers = readers
        self._together = together
        self._index: dict[str, int] = {}
        for reader in readers:
            for name in reader.names:
                self._index.setdefault(name, len(self._index))
        self.since = readers[0].since

    @property
    def commands(self) -> list[Command]:
        """What to send."""
        return [("MGET", *self._index)] if self._together else [("GET", n) for n in self._index]

    def deliver(self, origin: bytes, answers: list[Any]) -> None:
        """Tell each reader what was found.

        Raises:
            ConnectionError: These are no answers to the commands.
        """
        found = answers[0] if self._together else answers
        if isinstance(found, ReplyError):
            self.fail(found)
            return
        if not isinstance(found, list) or len(found) != len(self._index):
            raise ConnectionError("redis answers what was not asked")
        for reader in self._readers:
            if reader.future.done():  # its caller has left
                continue
            values = [found[self._index[name]] for name in reader.names]
            error = next((value for value in values if isinstance(value, ReplyError)), None)
            if error is None:
                reader.future.set_result((origin, values))
            else:
                reader.future.set_exception(_unavailable(error))

    def fail(self, reason: BaseException) -> None:
        """Tell all that there was no answer."""
        for reader in self._readers:
            if not reader.future.done():
                reader.future.set_exception(_unavailable(reason))


def _unavailable(reason: BaseException) -> StoreUnavailableError:
    error = StoreUnavailableError("error")
    error.__cause__ = reason
    return error
