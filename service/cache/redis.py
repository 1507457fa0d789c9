"""The store in Redis, shared by processes; when Redis fails, callers hardly notice.

Keys, for the region ``product`` and the key ``42``:

``v1:{product:42}``            the value: the region's generation (8 bytes), then the codec's bytes
``v1:{product:42}:claim``      the claim of the loads under way; the braces keep both in one slot
``v1:generation:product``      a random token; without it, or with another, values are not valid

The Redis behind it should keep nothing on disk (``save ""``, ``appendonly no``) and evict
(``maxmemory-policy volatile-lfu``): a snapshot could bring back what was invalidated after it.
"""

import asyncio
import contextlib
import logging
import os
import random

from service.cache.backend import Claim, Patience, Region, StoreUnavailableError
from service.cache.line import Line
from service.cache.outbox import EVERYTHING, Outbox, Owed
from vitals.caching import Layer, Outcome

log = logging.getLogger(__name__)

GENERATION_BYTES = 8
REDELIVERY_SECONDS = 0.5

# Loads of one key share a claim while it lives. Only an invalidation, an expiry or an eviction
# ends it, so whoever still holds it knows that nothing was invalidated since it began.
CLAIM = """
local held = redis.call('GET', KEYS[1])
if held then redis.call('PEXPIRE', KEYS[1], ARGV[2]) return held end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
"""
FILL = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""


class RedisBackend:
    """Bytes by region and key in Redis.

    Invalidations that fail are owed, and until they are delivered this process trusts nothing
    that Redis holds.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        password: Used when the URL has none.
        claim_seconds: How long a claim lives; longer than any load.
        timeout: Seconds a command may take.
        prefix: Begins every key; raise its version when the layout of keys changes.
    """

    layer: Layer = "l2"

    def __init__(
        self,
        url: str,
        *,
        password: str | None = None,
        claim_seconds: float,
        timeout: float,
        prefix: str = "v1",
    ) -> None:
        self.timeout = timeout
        self._line = Line(url, password, timeout, self._tell)
        self._claim_ms = int(claim_seconds * 1000)
        self._prefix = prefix
        self._regions: list[Region] = []
        self._outbox = Outbox()
        self._courier: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()

    def register(self, region: Region) -> None:
        """Make a region known."""
        self._regions.append(region)
        region.report.breaker(open_=self._line.is_open)

    async def read(self, region: Region, key: str, patience: Patience) -> bytes | None:
        """Return the value if it is of the region's present generation."""
        names = self._value(region, key), self._generation(region)
        self._trust()
        with region.report.operation("get"):
            stored, generation = await self._line.send("MGET", *names, patience=patience)
        self._trust()
        return _payload(stored, generation)

    async def claim(self, region: Region, key: str, patience: Patience) -> Claim:
        """Take or share the claim on a key, and make the generation if there is none."""
        name, generation = self._claim(region, key), self._generation(region)
        self._trust()
        with region.report.operation("claim"):
            _, current, stored, token = await self._line.send_all(
                ("SET", generation, os.urandom(GENERATION_BYTES), "NX"),
                ("GET", generation),
                ("GET", self._value(region, key)),
                ("EVAL", CLAIM, 1, name, os.urandom(8), self._claim_ms),
                patience=patience,
            )
        return Claim(region, key, token, current or b"", _payload(stored, current))

    async def fill(self, claim: Claim, stored: bytes, ttl: float, patience: Patience) -> bool:
        """Store the value if the claim holds and the generation has not changed."""
        region, value = claim.region, claim.generation + stored
        names = self._value(region, claim.key), self._claim(region, claim.key)
        self._trust()
        with region.report.operation("set"):
            filled, current = await self._line.send_all(
                ("EVAL", FILL, 2, *names, claim.token, value, int(ttl * 1000)),
                ("GET", self._generation(region)),
                patience=patience,
            )
        return bool(filled) and current == claim.generation

    async def invalidate(self, region: Region, keys: tuple[str, ...]) -> None:
        """Drop keys now, or owe it."""
        await self._invalidate(region, set(keys))

    async def clear(self, region: Region) -> None:
        """Drop the region's generation now, or owe it."""
        await self._invalidate(region, EVERYTHING)

    async def ping(self) -> bool:
        """Tell whether Redis answers and is trusted."""
        try:
            await self._line.send("PING")
        except StoreUnavailableError:
            return False
        return not self._outbox

    async def close(self) -> None:
        """Try once more to deliver what is owed, then disconnect."""
        await asyncio.gather(*self._sending, return_exceptions=True)
        if self._courier is not None:
            self._courier.cancel()
            await asyncio.gather(self._courier, return_exceptions=True)
        with contextlib.suppress(StoreUnavailableError):
            await self._deliver_owed()
        for region, keys in self._outbox.take().items():
            log.error("invalidations of cache %s are lost: stale until its TTL", region.name)
            _report(region, keys, "failed")
        await self._line.close()

    def _trust(self) -> None:
        if self._outbox:
            raise StoreUnavailableError("bypass")

    def _tell(self, open_: bool) -> None:  # noqa: FBT001 - the line's callback
        for region in self._regions:
            region.report.breaker(open_=open_)

    # -- Invalidating ------------------------------------------------------------------------

    async def _invalidate(self, region: Region, keys: set[str] | None) -> None:
        # In a task of its own: a request that is cancelled after its commit must not keep the
        # invalidation from being sent.
        task = asyncio.get_running_loop().create_task(self._send(region, keys))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        await asyncio.shield(task)

    async def _send(self, region: Region, keys: set[str] | None) -> None:
        try:
            with region.report.operation("invalidate"):
                await self._deliver({region: keys})
        except StoreUnavailableError:
            _report(region, keys, "queued")
            self._outbox.add(region, keys)
            if self._courier is None or self._courier.done():
                self._courier = asyncio.get_running_loop().create_task(self._redeliver())
        else:
            _report(region, keys, "ok")

    async def _redeliver(self) -> None:
        while self._outbox:
            await asyncio.sleep(REDELIVERY_SECONDS * random.uniform(0.5, 1))  # noqa: S311 - spread
            with contextlib.suppress(StoreUnavailableError):
                await self._deliver_owed()

    async def _deliver_owed(self) -> None:
        owed = self._outbox.take()
        try:
            await self._deliver(owed)
        except BaseException:
            self._outbox.put_back()
            raise
        self._outbox.settle()
        for region, keys in owed.items():
            _report(region, keys, "ok")

    async def _deliver(self, owed: Owed) -> None:
        commands: list[tuple[str, ...]] = []
        for region, keys in owed.items():
            if keys is EVERYTHING:
                commands.append(("UNLINK", self._generation(region)))
            commands += (
                ("UNLINK", self._value(region, key), self._claim(region, key)) for key in keys or ()
            )
        if commands:
            await self._line.send_all(*commands)

    # -- Naming ------------------------------------------------------------------------------

    def _value(self, region: Region, key: str) -> str:
        return f"{self._prefix}:{{{region.name}:{key}}}"

    def _claim(self, region: Region, key: str) -> str:
        return f"{self._prefix}:{{{region.name}:{key}}}:claim"

    def _generation(self, region: Region) -> str:
        return f"{self._prefix}:generation:{region.name}"


def _payload(stored: bytes | None, generation: bytes | None) -> bytes | None:
    """The codec's bytes of a value, if it is of this generation."""
    if stored is None or generation is None or not stored.startswith(generation):
        return None
    return stored[GENERATION_BYTES:]


def _report(region: Region, keys: set[str] | None, outcome: Outcome) -> None:
    for _ in keys or ("everything",):
        region.report.invalidation(outcome)
