"""Keeping a lease while a load goes on, and waiting for somebody else's."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.cache.core.store import Backend, Claim, Look, Patience, Place, Verdict

RENEW_SECONDS = 0.5
WAIT_SECONDS = 2.0
"""So long a process waits for the load of another one; then it loads by itself."""
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.08


async def claimed(
    backend: Backend, place: Place, look: Look, patience: Patience, *, again: bool
) -> Claim:
    """Make a claim; wait while somebody else holds it.

    Returns:
        A claim that is granted, found or closed; or held, if that took too long.
    """
    loop = asyncio.get_running_loop()
    end, pause = loop.time() + WAIT_SECONDS, FIRST_PAUSE
    while True:
        claim = await backend.claim(place, look, patience, again=again)
        if claim.verdict is not Verdict.HELD or loop.time() > end:
            return claim
        again = False  # what the holder brings is new
        look = Look(claim.stamp)
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spread
        pause = min(2 * pause, LONGEST_PAUSE)


@asynccontextmanager
async def kept(backend: Backend, claim: Claim | None) -> AsyncIterator[None]:
    """Renew a claim now and then; give it up if the block fails."""
    if claim is None:
        yield
        return
    loop = asyncio.get_running_loop()
    renewing = Renewing(backend, claim)
    try:
        yield
    except BaseException:
        await asyncio.shield(loop.create_task(backend.give_up(claim)))
        raise
    finally:
        renewing.end()


class Renewing:
    """Renews a claim by a timer; a load that is quick never costs a task."""

    def __init__(self, backend: Backend, claim: Claim) -> None:
        self._backend = backend
        self._claim = claim
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(RENEW_SECONDS, self._renew)

    def end(self) -> None:
        """Stop."""
        self._timer.cancel()

    def _renew(self) -> None:
        self._task = self._loop.create_task(self._backend.renew(self._claim))
        self._timer = self._loop.call_later(RENEW_SECONDS, self._renew)
