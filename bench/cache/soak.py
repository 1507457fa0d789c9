"""Soak test: a fault of Redis or of the event loop every 5 s; Redis must be in use at the end."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

from redis.asyncio import Redis

from bench.cache.ours import Ours
from bench.cache.result import Result
from bench.cache.source import SMALL, Source
from stack.process.process import Process
from vitals.cache.cache import TIMEOUT_SECONDS

EVERY_SECONDS, FAULT_SECONDS = 5.0, 1.5
CALLERS, L1_TTL_SECONDS = 8, 0.5
MAX_RECOVERY = 2.0
"""Seconds from the end of a fault until Redis responds and the subscriber is connected."""


@dataclass
class Soak:
    """Results for callers, and the recovery times.

    Attributes:
        seconds: Duration.
        calls: Number of calls.
        failed: Number of calls that raised.
        recovery: Longest time until Redis was used again, by fault.
        faults: Number of faults.
        in_use: Whether Redis was in use at the end.
    """

    seconds: float
    calls: int = 0
    failed: int = 0
    recovery: dict[str, float] = field(default_factory=dict)
    faults: int = 0
    in_use: bool = False


class Faults:
    """Short faults of a Redis.

    Args:
        url: Its URL.
        redis: Its process.
        ready: Blocks until it is ready.
    """

    def __init__(self, url: str, redis: Process, ready: Callable[[], None]) -> None:
        self._url = url
        self._redis = redis
        self._ready = ready
        self.all = (
            self.frozen,
            self.killed,
            self.crowded,
            self.forbidden,
            self.connections_cut,
            self.loop_stalled,
        )

    async def frozen(self) -> None:
        """It hangs."""
        self._redis.pause()
        await asyncio.sleep(FAULT_SECONDS)
        self._redis.resume()

    async def killed(self) -> None:
        """It is killed, and restarts empty."""
        self._redis.kill()
        await asyncio.sleep(FAULT_SECONDS)
        self._redis.start()
        await asyncio.to_thread(self._ready)

    async def crowded(self) -> None:
        """It has reached maxclients."""
        async with Redis.from_url(self._url) as client:
            await self._cut(client)
            await client.config_set("maxclients", 1)
            await asyncio.sleep(FAULT_SECONDS)
            await client.config_set("maxclients", 10_000)

    async def forbidden(self) -> None:
        """The ACL denies all commands."""
        client: Any
        async with Redis.from_url(self._url) as client:
            await client.execute_command("ACL SETUSER default -@all +acl")
            await asyncio.sleep(FAULT_SECONDS)
            await client.execute_command("ACL SETUSER default +@all")

    async def connections_cut(self) -> None:
        """All connections are closed, again and again, at any stage of connecting."""
        end = perf_counter() + FAULT_SECONDS
        async with Redis.from_url(self._url) as client:
            while perf_counter() < end:
                await self._cut(client)
                await asyncio.sleep(random.uniform(0, 0.01))

    async def loop_stalled(self) -> None:
        """The event loop is blocked, for up to twice the timeout."""
        end = perf_counter() + FAULT_SECONDS
        while perf_counter() < end:
            time.sleep(random.uniform(0, 2 * TIMEOUT_SECONDS))  # noqa: ASYNC251 - the fault
            await asyncio.sleep(random.uniform(0, 0.05))

    @staticmethod
    async def _cut(client: Any) -> None:
        await client.client_kill_filter(_type="normal", skipme=True)
        await client.client_kill_filter(_type="pubsub")


async def measure(url: str, redis: Process, ready: Callable[[], None], seconds: float) -> Soak:
    """Inject faults for this many seconds."""
    cache = Ours(url, Source(SMALL), l1_ttl=L1_TTL_SECONDS, rendered=True, timeout=TIMEOUT_SECONDS)
    faults, found = Faults(url, redis, ready), Soak(seconds)
    await cache.start()
    over = False

    async def call() -> None:
        while not over:
            found.calls += 1
            try:
                await cache.get(str(random.randrange(100)))
            except Exception:  # noqa: BLE001 - counted as a failed call
                found.failed += 1
            await asyncio.sleep(0.002)

    callers = [asyncio.ensure_future(call()) for _ in range(CALLERS)]
    end = perf_counter() + seconds
    while perf_counter() < end:
        next_at = perf_counter() + EVERY_SECONDS
        fault = faults.all[found.faults % len(faults.all)]
        await fault()
        found.faults += 1
        fault_end, name = perf_counter(), fault.__name__.replace("_", " ")
        while not (used := await cache.is_used()) and perf_counter() < next_at:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        took = perf_counter() - fault_end if used else float("inf")
        found.recovery[name] = max(took, found.recovery.get(name, 0.0))
        print(f"soak: {name}, used again after {took:.2f} s", flush=True)
        await asyncio.sleep(max(0, next_at - perf_counter()))
    found.in_use = await cache.is_used()
    over = True
    await asyncio.gather(*callers)
    await cache.close()
    return found


def evaluate(found: Soak) -> Result:
    """Build the table, and check the budgets."""
    rows = [[name, f"{seconds:.2f} s"] for name, seconds in found.recovery.items()]
    exceeded = [
        f"after {name}, Redis was used again only after {seconds:.1f} s"
        for name, seconds in found.recovery.items()
        if seconds > MAX_RECOVERY
    ]
    if found.failed:
        exceeded.append(f"{found.failed} of {found.calls} calls failed during the soak test")
    if not found.in_use:
        exceeded.append("Redis is not in use at the end of the soak test")
    title = f"Soak of {found.seconds:g} s, {found.faults} faults, {found.calls:,} calls"
    return Result(title, ["Redis", "used again after, at most"], rows, asdict(found), exceeded)
