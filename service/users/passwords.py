"""Password hashing: argon2id in threads, with equal work for known and unknown users."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from threading import get_native_id
from typing import Annotated, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from fastapi import Depends, Request

from service.errors import UnavailableError
from service.settings import Settings

T = TypeVar("T")

NICE = 5
"""Nice value of hashing threads: no effect with idle processors, else they get a third of the event
loop's share. Twice the value makes logins slow on a busy machine and reads no faster.
"""


@dataclass(frozen=True)
class PasswordCheck:
    """Whether a password matches, and its new hash if the parameters have changed since."""

    matches: bool
    new_hash: str | None = None


class Passwords:
    """Hashes and checks passwords in a thread pool.

    A hash costs about 20 ms and 19 MiB by intent. A caller first takes a `slot`: more concurrent
    logins than ``hash_queue`` are refused with 503, and the threads have a lower priority than the
    event loop. So a flood of logins does not slow down other requests.
    """

    def __init__(self, settings: Settings) -> None:
        self.hasher = PasswordHasher(
            time_cost=settings.hash_passes,
            memory_cost=settings.hash_memory_kib,
            parallelism=1,
            type=Type.ID,
        )
        self._threads = ThreadPoolExecutor(
            settings.hash_threads, thread_name_prefix="argon2", initializer=_lower_priority
        )
        self._free = settings.hash_queue
        # One more than threads: the next login's row is looked up meanwhile.
        self._slots = asyncio.Semaphore(settings.hash_threads + 1)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot before any work that belongs to a hash.

        Of fifty concurrent logins, only a few at a time then use the event loop for lookups, so
        other requests are served in between.

        Raises:
            UnavailableError: The queue is full.
        """
        if self._free == 0:
            raise UnavailableError("Too many concurrent logins: try again shortly.")
        self._free -= 1
        try:
            async with self._slots:
                yield
        finally:
            self._free += 1

    async def hash(self, password: str) -> str:
        """Hash a new password."""
        return await self._run(self.hasher.hash, password)

    async def check(self, password: str, stored: str | None) -> PasswordCheck:
        """Check a password against a stored hash; None for an unknown user."""
        return await self._run(self._check, password, stored)

    def close(self) -> None:
        """Stop the threads after their current hash."""
        self._threads.shutdown(cancel_futures=True)

    @cached_property
    def _dummy_hash(self) -> str:
        return self.hasher.hash("dummy password")

    def _check(self, password: str, stored: str | None) -> PasswordCheck:
        # For an unknown user a dummy hash is checked: the time must not reveal who exists.
        right = self._verify(stored or self._dummy_hash, password) and stored is not None
        if not right or not self.hasher.check_needs_rehash(stored or ""):
            return PasswordCheck(right)
        return PasswordCheck(right, self.hasher.hash(password))

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self.hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, work, *arguments)


def _lower_priority() -> None:
    """Lower the thread's priority, so that the event loop does not wait for a processor."""
    if sys.platform == "linux":  # where the nice value is per thread
        thread = get_native_id()
        usual = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, usual + NICE)  # capped at 19 by the kernel


async def _of(request: Request) -> Passwords:
    passwords: Passwords = request.app.state.passwords
    return passwords


PasswordsOf = Annotated[Passwords, Depends(_of)]
"""The password hasher of the app that handles the request."""
