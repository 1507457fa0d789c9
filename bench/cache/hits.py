"""Cost of a hit: sequential, and with 64 concurrent tasks, in interleaved rounds on one Redis."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.cache import alternatives
from bench.cache.ours import Ours, Raw
from bench.cache.result import Result
from bench.cache.source import LARGE, SMALL, Cached, Source, Value
from bench.interleave import Once, compare

TASKS, EACH, KEYS, CALLS = 64, 5, 256, 20
RAW, RENDERED, DECODED = "redis-py GET", "ours, as sent", "ours, decoded"
L1 = "ours, L1"
L1_TTL_SECONDS = 60
"""TTL of values in the L1 cache."""
MAX_LATENCY_RATIO = 1.1
MIN_THROUGHPUT_RATIOS = {
    "throughput to GETs": 3.0,
    "throughput to GETs, decoded": 1.5,
    "throughput to the best alternative": 3.0,
}
L1_MAX_SECONDS = 2e-6
SIZES: dict[str, Value] = {"200 B": SMALL, "5 kB": LARGE}


@dataclass(frozen=True)
class Hits:
    """Seconds per hit of each variant.

    Attributes:
        alone: Sequential calls.
        together: Time of `TASKS` concurrent tasks, divided by the number of hits.
    """

    alone: dict[str, float]
    together: dict[str, float]


async def measure(url: str, names: tuple[str, ...], rounds: int) -> dict[str, Hits]:
    """Measure every variant; results by size of the value."""
    return {size: await _measure(url, value, names, rounds) for size, value in SIZES.items()}


async def _measure(url: str, value: Value, names: tuple[str, ...], rounds: int) -> Hits:
    raw = Raw(url)
    built: dict[str, Callable[[Source], Cached]] = {
        RENDERED: lambda source: Ours(url, source, rendered=True),
        DECODED: lambda source: Ours(url, source, rendered=False),
        L1: lambda source: Ours(url, source, l1_ttl=L1_TTL_SECONDS, rendered=True),
        **{name: partial(alternatives.make, name, url) for name in names},
    }
    sources = {name: Source(value) for name in built}
    caches: dict[str, Cached] = {name: build(sources[name]) for name, build in built.items()}
    keys = [f"{len(json.dumps(value))}:{number}" for number in range(KEYS)]
    for key in keys:
        await raw.put(key, json.dumps(value).encode())
    for cache in caches.values():
        if isinstance(cache, Ours):
            await cache.start()
        for key in keys:
            await cache.get(key)
    for source in sources.values():
        source.loads = 0
    variants: dict[str, Any] = {RAW: raw, **caches}
    try:
        alone = await compare(
            {name: _alone(variant, keys) for name, variant in variants.items()},
            rounds=3 * rounds,
            calls=CALLS,
        )
        together = await compare(
            {name: _together(variant, keys) for name, variant in variants.items()},
            rounds=rounds,
            calls=1,
        )
    finally:
        for variant in variants.values():
            await variant.close()
    hits = TASKS * EACH
    for name, source in sources.items():
        if source.loads:
            raise RuntimeError(f"{name}: {source.loads} of the expected hits were loads")
    return Hits(alone, {name: seconds / hits for name, seconds in together.items()})


def _alone(variant: Any, keys: list[str]) -> Once:
    if isinstance(variant, Ours) and variant.l1_ttl:  # a wrapper would be half of the figure
        return partial(variant.read, keys[0], partial(variant.source.load, keys[0]))
    return partial(variant.get, keys[0])


def _together(variant: Any, keys: list[str]) -> Once:
    async def task(number: int) -> None:
        for turn in range(EACH):
            await variant.get(keys[(number * EACH + turn) % KEYS])

    async def once() -> None:
        await asyncio.gather(*(task(number) for number in range(TASKS)))

    return once


def evaluate(found: dict[str, Hits]) -> Result:
    """Build the table, and check the budgets."""
    rows, exceeded = [], []
    figures: dict[str, Any] = {}
    for size, hits in found.items():
        alone, together = hits.alone, hits.together
        for name, seconds in alone.items():
            rows.append(
                [
                    f"{name}, {size}",
                    f"{seconds * 1e6:.1f}",
                    f"{seconds / alone[RAW]:.3f}",
                    f"{1 / together[name]:,.0f}",
                    f"{together[RAW] / together[name]:.2f}",
                ]
            )
        others = [name for name in together if name in alternatives.NAMES]
        ratios = {
            "latency to GET": alone[RENDERED] / alone[RAW],
            "throughput to GETs": together[RAW] / together[RENDERED],
        }
        ratios["throughput to GETs, decoded"] = together[RAW] / together[DECODED]
        if others:
            best = min(together[name] for name in others)
            ratios["throughput to the best alternative"] = best / together[RENDERED]
        if ratios["latency to GET"] > MAX_LATENCY_RATIO:
            exceeded.append(f"a hit of {size} takes more than {MAX_LATENCY_RATIO} of a GET")
        exceeded += [
            f"{name} with {size} is below {least}"
            for name, least in MIN_THROUGHPUT_RATIOS.items()
            if name in ratios and ratios[name] < least
        ]
        if L1 in alone and alone[L1] > L1_MAX_SECONDS:
            exceeded.append(f"an L1 hit of {size} takes more than 2 µs")
        figures[size] = {
            "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
            "us alone": {name: round(each * 1e6, 2) for name, each in alone.items()},
            "hits a second": {name: round(1 / each) for name, each in together.items()},
        }
    columns = ["", "µs a hit", "x GET", f"hits/s of {TASKS} tasks", "x GETs"]
    return Result("Hits", columns, rows, figures, exceeded)
