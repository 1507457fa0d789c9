"""Delivers invalidations. What cannot be delivered is owed, and nothing is trusted until it is."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Protocol

from service.cache.core.store import INTENT_SECONDS, Intent, Mark, StoreUnavailableError
from service.cache.invalidation.outbox import Outbox
from vitals.cache_metrics import Outcome

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.5
MOST_HELD = 1000
Place = Callable[[Intent], Awaitable[None]]
Everything = Callable[[], tuple[Mark, ...]]


class Send(Protocol):
    """Sends marks to the store, or raises ``StoreUnavailableError``."""

    async def __call__(self, marks: tuple[Mark, ...], token: bytes = b"", /) -> None:
        """Send."""


class Courier:
    """Delivers marks, at the latest when the store is back.

    Args:
        send: Sends them.
        place: Says what is about to change, likewise.
        everything: Stands for all marks, when too many are owed.
    """

    def __init__(self, send: Send, place: Place, everything: Everything) -> None:
        self._send = send
        self._place = place
        self._held: dict[bytes, tuple[Intent, float]] = {}
        self._outbox = Outbox(everything)
        self._sending: set[asyncio.Task[None]] = set()
        self._rounds: asyncio.Task[None] | None = None
        self._back = asyncio.Event()
        self._catching_up: asyncio.Task[None] | None = None
        self.catch_up: Callable[[], Awaitable[None]] | None = None
        """Awaited when the store is back, before it is trusted: what others may owe."""

    def check(self) -> None:
        """Make sure that the store may be trusted.

        Raises:
            StoreUnavailableError: Something is owed, or a write under way is not known to it.
        """
        if self._held:
            self._forget_ended()
        if (
            self._outbox
            or self._held
            or (self._catching_up is not None and not self._catching_up.done())
        ):
            raise StoreUnavailableError("bypass")

    def hold(self, intent: Intent) -> None:
        """Keep an intent that the store does not know, until it does or the write is over."""
        if len(self._held) >= MOST_HELD:  # who holds too many holds all of them
            intent = Intent(self._outbox.everything(), token=b"\0" * 8)
        self._held.pop(intent.token, None)  # those that end first stand first
        self._held[intent.token] = intent, asyncio.get_running_loop().time() + INTENT_SECONDS

    async def deliver(self, marks: tuple[Mark, ...], token: bytes = b"") -> None:
        """Deliver marks now, or owe them; with a token, a write of theirs is over."""
        # In a task of its own: a request that is cancelled after its commit must not keep the
        # invalidation from being sent.
        task = asyncio.get_running_loop().create_task(self._deliver(marks, token))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        await asyncio.shield(task)
        self._held.pop(token, None)

    def hurry(self) -> None:
        """Say that the store is back."""
        self._back.set()
        if self.catch_up is not None or self._held:
            self._catching_up = asyncio.get_running_loop().create_task(self._catch_up())

    async def close(self) -> None:
        """Try once more to deliver what is owed; the rest is lost."""
        await asyncio.gather(*self._sending, return_exceptions=True)
        for task in (self._rounds, self._catching_up):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._deliver_owed()
        lost = self._outbox.take()
        for mark in lost:
            log.error("an invalidation of cache %s is lost: stale until its TTL", mark.region.name)
        _report(lost, "failed")

    async def _deliver(self, marks: tuple[Mark, ...], token: bytes) -> None:
        try:
            await self._send(marks, token)
        except StoreUnavailableError:
            _report(marks, "queued")
            self._outbox.add(marks)
            if self._rounds is None or self._rounds.done():
                self._rounds = asyncio.get_running_loop().create_task(self._redeliver())
        else:
            _report(marks, "ok")

    async def _redeliver(self) -> None:
        while self._outbox:
            self._back.clear()
            pause = PAUSE_SECONDS * random.uniform(0.5, 1)  # noqa: S311 - spread
            try:
                async with asyncio.timeout(pause):
                    await self._back.wait()
            except TimeoutError:
                pass
            await self._deliver_owed()

    async def _deliver_owed(self) -> None:
        owed = self._outbox.take()
        if not owed:
            return
        try:
            await self._send(owed)
        except StoreUnavailableError:
            self._outbox.put_back()
        except BaseException:
            self._outbox.put_back()
            raise
        else:
            self._outbox.settle()
            _report(owed, "ok")

    async def _catch_up(self) -> None:
        try:
            for token, (intent, _) in list(self._held.items()):
                await self._place(intent)
                self._held.pop(token, None)
            if self.catch_up is not None:
                await self.catch_up()
        except Exception:  # noqa: BLE001 - whatever it is: nothing may be trusted then
            log.warning("cannot learn what other processes owe: all cached values go")
            await self._deliver(self._outbox.everything(), b"")

    def _forget_ended(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._held and (first := next(iter(self._held.items())))[1][1] < now:
            del self._held[first[0]]


def _report(marks: tuple[Mark, ...], outcome: Outcome) -> None:
    for mark in marks:
        mark.region.report.invalidation(outcome)
