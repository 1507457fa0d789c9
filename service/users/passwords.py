"""Password hashes: argon2id, off the event loop, the same work for known and unknown users."""

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
"""How far hashing steps back: with processors to spare not at all, else it gets a third of what
the event loop gets. Twice as far makes logins slow on a busy machine and reads no faster.
"""


@dataclass(frozen=True)
class PasswordCheck:
    """Whether a password is right, and its new hash when the parameters have changed since."""

    matches: bool
    new_hash: str | None = None


class Passwords:
    """Hashes and checks passwords in a few threads of its own.

    A hash costs about 20 ms and 19 MiB by intent. Whoever wants one takes a `slot`: more logins
    than ``hash_queue`` at once are refused with 503 instead of piling up, and the threads give way
    to the event loop. A flood of logins must not take the rest with it.
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
        # One more than hash: what the next one needs is looked up meanwhile.
        self._slots = asyncio.Semaphore(settings.hash_threads + 1)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for one's turn before any work that belongs to a hash.

        Of fifty who come at once, few at a time then keep the event loop busy with look-ups, and
        whoever reads comes in between.

        Raises:
            UnavailableError: Too many are waiting already.
        """
        if self._free == 0:
            raise UnavailableError("Too many people are logging in: try again shortly.")
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
        """Check a password against a stored hash; None stands for a user who does not exist."""
        return await self._run(self._check, password, stored)

    def close(self) -> None:
        """End the threads after what they are doing."""
        self._threads.shutdown(cancel_futures=True)

    @cached_property
    def _dummy_hash(self) -> str:
        return self.hasher.hash("nobody has this password")

    def _check(self, password: str, stored: str | None) -> PasswordCheck:
        # Without a user a hash is checked all the same: the time must not tell who exists.
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
    """Let the event loop go first: requests that hash nothing must not wait for a processor."""
    if sys.platform == "linux":  # where a thread has a priority of its own
        thread = get_native_id()
        usual = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, usual + NICE)  # 19 at most, says the kernel


async def _of(request: Request) -> Passwords:
    passwords: Passwords = request.app.state.passwords
    return passwords


PasswordsOf = Annotated[Passwords, Depends(_of)]
"""What hashes the passwords of the app that answers the request."""
