"""Invalidation queue: retries undelivered invalidations; reads bypass the store meanwhile."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from vitals.cache.core.metrics import Outcome
from vitals.cache.core.store import (
    INTENT_SECONDS,
    InvalidationTarget,
    StoreUnavailableError,
    WriteIntent,
)
from vitals.cache.invalidation_queue.pending import PendingInvalidations
from vitals.random_numbers import RANDOM

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
MAX_HELD_INTENTS = 1000
SendIntent = Callable[[WriteIntent], Awaitable[None]]
Everything = Callable[[], tuple[InvalidationTarget, ...]]


class Send(Protocol):
    """Sends targets to the store, or raises ``StoreUnavailableError``."""

    async def __call__(
        self, targets: tuple[InvalidationTarget, ...], token: bytes = b"", /
    ) -> None:
        """Send them; with a token, end the write intent that it identifies."""


class InvalidationQueue:
    """Delivers invalidations, at the latest when the store is available again.

    Args:
        send: Sends targets to the store.
        send_intent: Sends a write intent to the store.
        everything: Returns the targets of all namespaces, for when too many are pending.
    """

    def __init__(self, send: Send, send_intent: SendIntent, everything: Everything) -> None:
        self._send = send
        self._send_intent = send_intent
        self._held: dict[bytes, tuple[WriteIntent, float]] = {}
        self._pending = PendingInvalidations(everything)
        self._sending: set[asyncio.Task[None]] = set()
        self._retrying: asyncio.Task[None] | None = None
        self._available = asyncio.Event()
        self._catching_up: asyncio.Task[None] | None = None
        self.catch_up: Callable[[], Awaitable[None]] | None = None
        """Awaited when the store is available again, before reads use it: relays the outbox."""

    def check(self) -> None:
        """Check that reads may use the store.

        Raises:
            StoreUnavailableError: An invalidation or a write intent is not delivered yet.
        """
        if self._held:
            self._drop_expired()
        if (
            self._pending
            or self._held
            or (self._catching_up is not None and not self._catching_up.done())
        ):
            raise StoreUnavailableError("bypass")

    def hold(self, intent: WriteIntent) -> None:
        """Hold an intent that the store does not know, until it does or the write is over."""
        if len(self._held) >= MAX_HELD_INTENTS:  # too many: one intent for everything
            intent = WriteIntent(self._pending.everything(), token=b"\0" * 8)
        self._held.pop(intent.token, None)  # re-inserted: ordered by expiry
        self._held[intent.token] = intent, asyncio.get_running_loop().time() + INTENT_SECONDS

    async def deliver(self, targets: tuple[InvalidationTarget, ...], token: bytes = b"") -> None:
        """Deliver targets now, or queue them; with a token, end its write intent."""
        # In a task of its own: cancelling a request after its commit must not cancel the
        # invalidation.
        task = asyncio.get_running_loop().create_task(self._deliver(targets, token))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        await asyncio.shield(task)
        self._held.pop(token, None)

    def inherit(self, other: "InvalidationQueue") -> None:
        """Take over what another queue has not delivered; its event loop may have ended."""
        self.catch_up, self._held = other.catch_up, other._held  # noqa: SLF001 - of its own class
        self._pending.add(other._pending.everything_pending())  # noqa: SLF001 - the same
        if self._pending:
            self._retrying = asyncio.get_running_loop().create_task(self._redeliver())

    def flush(self) -> None:
        """Deliver what is pending: the store is available again."""
        self._available.set()
        if self.catch_up is not None or self._held:
            self._catching_up = asyncio.get_running_loop().create_task(self._catch_up())

    async def close(self) -> None:
        """Try a last time to deliver what is pending; log and count what is lost."""
        await asyncio.gather(*self._sending, return_exceptions=True)
        for task in (self._retrying, self._catching_up):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._deliver_pending()
        lost = self._pending.take()
        for target in lost:
            log.error("cache %s: invalidation lost, entry stale until its TTL", target.info.name)
        _report(lost, "failed")

    async def _deliver(self, targets: tuple[InvalidationTarget, ...], token: bytes) -> None:
        try:
            await self._send(targets, token)
        except StoreUnavailableError:
            _report(targets, "queued")
            self._pending.add(targets)
            if self._retrying is None or self._retrying.done():
                self._retrying = asyncio.get_running_loop().create_task(self._redeliver())
        else:
            _report(targets, "ok")

    async def _redeliver(self) -> None:
        while self._pending:
            self._available.clear()
            pause = RETRY_SECONDS * RANDOM.uniform(0.5, 1)
            try:
                async with asyncio.timeout(pause):
                    await self._available.wait()
            except TimeoutError:
                pass
            await self._deliver_pending()

    async def _deliver_pending(self) -> None:
        pending = self._pending.take()
        if not pending:
            return
        try:
            await self._send(pending)
        except StoreUnavailableError:
            self._pending.put_back()
        except BaseException:
            self._pending.put_back()
            raise
        else:
            self._pending.confirm()
            _report(pending, "ok")

    async def _catch_up(self) -> None:
        try:
            for token, (intent, _) in list(self._held.items()):
                await self._send_intent(intent)
                self._held.pop(token, None)
            if self.catch_up is not None:
                await self.catch_up()
        except Exception:  # noqa: BLE001 - any failure: no cached value can be trusted
            log.warning("cannot read the cache outbox, invalidating everything")
            await self._deliver(self._pending.everything(), b"")

    def _drop_expired(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._held and (first := next(iter(self._held.items())))[1][1] < now:
            del self._held[first[0]]


def _report(targets: tuple[InvalidationTarget, ...], outcome: Outcome) -> None:
    for target in targets:
        target.info.reporter.invalidation(outcome)
