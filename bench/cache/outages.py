"""Latency of callers while Redis hangs or is down, and time until it is used again."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import perf_counter

from bench.cache.ours import Ours
from bench.cache.result import Result
from bench.cache.source import SMALL, Source
from stack.process.process import Process
from vitals.cache.cache import TIMEOUT_SECONDS

CALLERS, SECONDS = 8, 3.0
LATE_SECONDS = 0.1
MAX_SECONDS, MAX_RECOVERY = 0.25, 2.0
"""Seconds. The timeout of Redis is 0.2 s; the rest is for the load and the machine."""


@dataclass(frozen=True)
class Outage:
    """Result of an outage, as seen by callers.

    Attributes:
        failed: Calls that raised.
        worst: Duration of the slowest call in seconds.
        late: Maximum number of calls slower than `LATE_SECONDS` of one caller.
        recovery: Seconds from the end of the outage to the first hit.
    """

    failed: int
    worst: float
    late: int
    recovery: float


def evaluate(found: dict[str, Outage]) -> Result:
    """Build the table, and check the budgets."""
    rows, exceeded = [], []
    for outage_kind, outage in found.items():
        rows.append(
            [
                f"{outage_kind} for {SECONDS:g} s",
                str(outage.failed),
                f"{outage.worst * 1e3:.0f} ms",
                str(outage.late),
                f"{outage.recovery:.2f} s",
            ]
        )
        if outage.failed:
            exceeded.append(f"{outage.failed} callers failed while Redis was {outage_kind}")
        if outage.worst > MAX_SECONDS:
            exceeded.append(f"a caller waited {outage.worst:.3f} s while Redis was {outage_kind}")
        if outage.late > 1:
            exceeded.append(f"a caller was late {outage.late} times while Redis was {outage_kind}")
        if outage.recovery > MAX_RECOVERY:
            exceeded.append(
                f"{outage_kind} Redis was used again only after {outage.recovery:.1f} s"
            )
    columns = ["Redis", "failed", "worst", "late to one caller", "used again after"]
    figures = {outage_kind: asdict(outage) for outage_kind, outage in found.items()}
    return Result(f"{CALLERS} callers while Redis is down", columns, rows, figures, exceeded)


async def measure(url: str, redis: Process, wait: Callable[[], None]) -> dict[str, Outage]:
    """Freeze Redis, then kill it and start it again.

    Args:
        url: URL of the Redis.
        redis: Its process.
        wait: Blocks until it is ready.
    """

    def restart() -> None:
        redis.start()
        wait()

    return {
        "frozen": await _measure(url, redis.pause, redis.resume),
        "killed": await _measure(url, redis.kill, restart),
    }


async def _measure(url: str, begin: Callable[[], None], end: Callable[[], None]) -> Outage:
    source = Source(SMALL)
    cache = Ours(url, source, rendered=True, timeout=TIMEOUT_SECONDS)
    failed, over = 0, False
    took: list[list[float]] = [[] for _ in range(CALLERS)]

    async def call(mine: list[float]) -> None:
        nonlocal failed
        while not over:
            started = perf_counter()
            try:
                await cache.get("outage")
            except Exception:  # noqa: BLE001 - counted as a failed call
                failed += 1
            mine.append(perf_counter() - started)
            await asyncio.sleep(0.002)

    await cache.get("outage")
    callers = [asyncio.ensure_future(call(mine)) for mine in took]
    await asyncio.sleep(0.2)
    begin()
    await asyncio.sleep(SECONDS)
    await asyncio.to_thread(end)
    ended = perf_counter()
    loads = -1
    while loads != source.loads:  # a hit loads nothing
        loads = source.loads
        await asyncio.sleep(0.02)
    recovery = perf_counter() - ended
    over = True
    await asyncio.gather(*callers)
    await cache.close()
    return Outage(
        failed,
        max(map(max, took)),
        max(sum(each > LATE_SECONDS for each in mine) for mine in took),
        recovery,
    )
