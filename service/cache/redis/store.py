"""The store in Redis, shared by processes; when Redis fails, callers hardly notice.

Names, for the value ``42`` of the namespace ``product``: ``v2:{product:42}`` holds the value,
``v2:{product:42}:fence`` and ``v2:{product:42}:writers`` who loads and who writes it. The braces
keep them in one slot of a cluster. ``v2:{product}`` holds the namespace's generation, and
``v2:{tag:garden}`` a tag's.

A generation is a random token; without it, or with another, a value is not valid. So is a value
that another run of a server was given: a replica that was promoted, or a server that restored an
old file, may have missed what was invalidated last.

The Redis behind it should keep nothing on disk (``save ""``, ``appendonly no``) and evict
(``maxmemory-policy volatile-lfu``).
"""

import logging
import os
from contextlib import suppress
from dataclasses import replace

from service.cache.core.entry import CorruptError, pack, unpack
from service.cache.core.l1 import Near
from service.cache.core.store import (
    INTENT_SECONDS,
    Claim,
    Found,
    Intent,
    Look,
    Mark,
    Patience,
    Place,
    Region,
    StoreUnavailableError,
    Verdict,
)
from service.cache.invalidation.queue import Courier
from service.cache.redis import scripts
from service.cache.redis.client import RedisClient, connect
from service.cache.redis.connection import Command
from vitals.cache_metrics import Layer

log = logging.getLogger(__name__)

GENERATION_BYTES = 8
LEASE_MS = 2_000
"""Renewed while a load goes on; so long others wait for one whose process died."""
INTENT_MS = INTENT_SECONDS * 1000
TAG = "tag:"
TAG_SECONDS = 7 * 24 * 3600
_VERDICTS = {verdict.name.lower().encode(): verdict for verdict in Verdict}
WRITING = b"W"
"""In place of a generation while a write of it is about to be committed."""


class RedisBackend:
    """Bytes by place in Redis.

    Args:
        url: See ``docs/caching.md``.
        password: Used when the URL has none.
        timeout: Seconds a command may take.
        near: Dropped from whenever we invalidate something ourselves.
        prefix: Begins every key; raise its version when the layout of keys changes.
    """

    layer: Layer = "l2"

    def __init__(
        self,
        url: str,
        *,
        password: str | None = None,
        timeout: float,
        near: Near | None = None,
        prefix: str = "v2",
    ) -> None:
        self.timeout = timeout
        self.client: RedisClient = connect(url, password, timeout, self._tell)
        self.channel = f"{prefix}:bus"
        self._near = near or Near()
        self.prefix = prefix
        self._process = os.urandom(8)
        self._regions: list[Region] = []
        self.courier = Courier(self._send, self._place, self._everything)

    def register(self, region: Region) -> None:
        """Make a region known."""
        self._regions.append(region)
        region.report.breaker(open_=self.client.is_open)

    # -- Reading and filling -----------------------------------------------------------------

    async def read(self, place: Place) -> Look:
        """Return the value if it is of the present generations."""
        self.courier.check()
        with place.region.report.operation("get"):
            origin, (stored, *tokens) = await self.client.read(self._reads(place))
        self.courier.check()
        if None in tokens or WRITING in tokens:
            return Look(None, closed=WRITING in tokens)
        stamp = origin + b"".join(tokens)
        if stored is None:
            return Look(stamp)
        try:
            return Look(stamp, unpack(place.name, stamp, stored))
        except CorruptError:
            place.region.report.refused("corrupt")
            return Look(stamp, spoilt=True)

    async def claim(
        self, place: Place, look: Look, patience: Patience, *, again: bool = False
    ) -> Claim:
        """Take the lease of a key, and make the generations that there are not."""
        if look.closed:
            return Claim(place, Verdict.CLOSED)
        self.courier.check()
        stamp = look.stamp or await self._stamp(place, patience)
        if stamp is None:
            return Claim(place, Verdict.CLOSED)
        token = self._process + os.urandom(8)
        keys = self._keys(place.name)
        acquire = self._script(scripts.ACQUIRE, keys, stamp, token, LEASE_MS, int(again))
        with place.region.report.operation("claim"):
            answer = await self.client.send(*acquire, patience=patience)
        verdict = _VERDICTS[answer[0]]
        if verdict is not Verdict.FOUND:
            return Claim(place, verdict, token, stamp)
        try:
            return Claim(place, verdict, token, stamp, unpack(place.name, stamp, answer[1]))
        except CorruptError:
            return Claim(place, verdict, token, stamp)

    async def renew(self, claim: Claim) -> None:
        """Keep the lease."""
        fence = self._keys(claim.place.name)[1:2]
        with suppress(StoreUnavailableError):
            await self.client.send(*self._script(scripts.RENEW, fence, claim.token, LEASE_MS))

    async def fill(self, claim: Claim, value: Found, ttl: float, patience: Patience) -> bool:
        """Store the value if the claim holds and no generation has changed."""
        place = claim.place
        keys = self._keys(place.name)[:2]
        stored = pack(place.name, claim.stamp, value)
        generations = self._reads(place)[1:]
        self.courier.check()
        with place.region.report.operation("set"):
            filled, *tokens = await self.client.send_all(
                self._script(scripts.FILL, keys, claim.token, stored, int(ttl * 1000)),
                *(("GET", name) for name in generations),
                patience=patience,
            )
        current = b"".join(token or b"" for token in tokens)
        return bool(filled) and claim.stamp.endswith(current) and None not in tokens

    async def give_up(self, claim: Claim) -> None:
        """Drop the lease."""
        fence = self._keys(claim.place.name)[1:2]
        with suppress(StoreUnavailableError):
            await self.client.send(*self._script(scripts.GIVE_UP, fence, claim.token))

    # -- Invalidating ------------------------------------------------------------------------

    async def intend(self, intent: Intent) -> Intent:
        """Say which values are about to change."""
        try:
            await self._place(intent)
        except StoreUnavailableError:
            self.courier.hold(intent)
            return replace(intent, delivered=False)
        finally:
            self._drop_near(intent.marks)
        return intent

    async def invalidate(self, marks: tuple[Mark, ...], intent: Intent | None = None) -> None:
        """Drop values now, or owe it."""
        if marks:
            self._drop_near(marks)
            await self.courier.deliver(marks, intent.token if intent else b"")
            self._drop_near(marks)

    async def tell(self, marks: tuple[Mark, ...]) -> bool:
        """Drop values now, or say that it cannot be done."""
        try:
            await self._send(marks)
        except StoreUnavailableError:
            return False
        finally:
            self._drop_near(marks)
        return True

    async def ping(self) -> bool:
        """Tell whether Redis answers and is trusted."""
        try:
            await self.client.send("PING")
            self.courier.check()
        except StoreUnavailableError:
            return False
        return True

    async def close(self) -> None:
        """Try once more to deliver what is owed, then disconnect."""
        await self.courier.close()
        await self.client.close()

    # -- Inside ------------------------------------------------------------------------------

    async def _place(self, intent: Intent) -> None:
        commands = [
            self._script(
                scripts.INTEND,
                self._keys(mark.name),
                intent.token,
                INTENT_MS,
                int(mark.whole),
                self.channel,
                mark.name,
            )
            for mark in intent.marks
        ]
        if commands:
            await self.client.send_all(*commands)

    async def _send(self, marks: tuple[Mark, ...], token: bytes = b"") -> None:
        await self.client.send_all(
            *(
                self._script(
                    scripts.RELEASE,
                    self._keys(mark.name),
                    token,
                    int(mark.whole),
                    self.channel,
                    mark.name,
                )
                for mark in marks
            )
        )

    def _everything(self) -> tuple[Mark, ...]:
        return tuple(Mark(region.name, whole=True, region=region) for region in self._regions)

    def _drop_near(self, marks: tuple[Mark, ...]) -> None:
        for mark in marks:
            self._near.drop(mark.name)

    def _tell(self, up: bool) -> None:  # noqa: FBT001 - the client's callback
        for region in self._regions:
            region.report.breaker(open_=not up)
        if up:
            self.courier.hurry()

    def _keys(self, name: str) -> tuple[str, str, str]:
        key = f"{self.prefix}:{{{name}}}"
        return key, f"{key}:fence", f"{key}:writers"

    def _reads(self, place: Place) -> tuple[str, ...]:
        begin = f"{self.prefix}:{{"
        return (f"{begin}{place.name}}}", *[f"{begin}{name}}}" for name in place.generations])

    async def _stamp(self, place: Place, patience: Patience) -> bytes | None:
        """Make the generations that there are not; None if one of them is being written."""
        fresh = [os.urandom(GENERATION_BYTES) for _ in place.generations]
        made = map(self._make, place.generations, fresh)
        found = await self.client.send_all(*made, patience=patience)
        tokens = [old or new for old, new in zip(found, fresh, strict=True)]
        if WRITING in tokens:
            return None
        return self.client.origin(self._reads(place)) + b"".join(tokens)

    def _make(self, name: str, token: bytes) -> Command:
        life = ("PX", TAG_SECONDS * 1000) if name.startswith(TAG) else ()
        return ("SET", self._keys(name)[0], token, "NX", "GET", *life)

    def _script(self, script: str, keys: tuple[str, ...], *arguments: str | bytes | int) -> Command:
        return ("EVAL", script, len(keys), *keys, *arguments)
