"""How late callers are while Redis hangs or is gone, and when it is used again."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import perf_counter

from bench.cache.ours import Ours
from bench.cache.result import Part
from bench.cache.source import SMALL, Source
from service.cache.cache import TIMEOUT_SECONDS
from stack.process.process import Process

CALLERS, SECONDS = 8, 3.0
LATE_SECONDS = 0.1
MOST_LATE, MOST_RECOVERY = 0.25, 2.0
"""Seconds. Redis is waited for 0.2; the rest is the load and the machine's."""


@dataclass(frozen=True)
class Outage:
    """What callers saw.

    Attributes:
        failed: Calls that raised.
        worst: Seconds that the latest answer took.
        late: Most answers later than `LATE_SECONDS` that one caller got.
        recovery: Seconds from the end of the trouble to the first hit.
    """

    failed: int
    worst: float
    late: int
    recovery: float


def part(found: dict[str, Outage]) -> Part:
    """The table, and the promises."""
    rows, broken = [], []
    for trouble, outage in found.items():
        rows.append(
            [
                f"{trouble} for {SECONDS:g} s",
                str(outage.failed),
                f"{outage.worst * 1e3:.0f} ms",
                str(outage.late),
                f"{outage.recovery:.2f} s",
            ]
        )
        if outage.failed:
            broken.append(f"{outage.failed} callers failed while Redis was {trouble}")
        if outage.worst > MOST_LATE:
            broken.append(f"a caller waited {outage.worst:.3f} s while Redis was {trouble}")
        if outage.late > 1:
            broken.append(f"a caller was late {outage.late} times while Redis was {trouble}")
        if outage.recovery > MOST_RECOVERY:
            broken.append(f"{trouble} Redis was used again after {outage.recovery:.1f} s only")
    columns = ["Redis", "failed", "worst", "late to one caller", "used again after"]
    figures = {trouble: asdict(outage) for trouble, outage in found.items()}
    return Part(f"{CALLERS} callers while Redis is away", columns, rows, figures, broken)


async def measure(url: str, redis: Process, wait: Callable[[], None]) -> dict[str, Outage]:
    """Freeze Redis, then kill it and start it again.

    Args:
        url: Of that Redis.
        redis: Its process.
        wait: Returns when it serves.
    """

    def again() -> None:
        redis.start()
        wait()

    return {
        "frozen": await _measure(url, redis.pause, redis.resume),
        "killed": await _measure(url, redis.kill, again),
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
            except Exception:  # noqa: BLE001 - whatever it is, a caller saw it
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
