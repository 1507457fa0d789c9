"""Time of one attempt of the rate limiter in this process, against the library limits.

``python -m bench.rate_limit``
"""

import importlib
import site
from collections.abc import Callable, Iterator
from itertools import cycle
from time import process_time
from typing import Any

from bench import budget
from bench.interleave import Once, report, run
from bench.virtualenvs import python
from service.rate_limit import MAX_NAMES, LocalLimiter, Policy

PINS = ("limits==5.8.0",)
OURS = "ours"
STRATEGIES = (
    "FixedWindowRateLimiter",
    "MovingWindowRateLimiter",
    "SlidingWindowCounterRateLimiter",
)
QUOTA = 1_000_000
NAMES = 500
FLOOD = 2 * MAX_NAMES


def _ours(policy: Policy) -> Callable[[str], object]:
    limiter = LocalLimiter()
    return lambda name: limiter.take((policy, name))


def _theirs(limits: Any, strategy: str) -> Callable[[str], object]:
    """Count an attempt, and read what the response's headers need."""
    limiter = getattr(limits.strategies, strategy)(limits.storage.MemoryStorage())
    quota = limits.RateLimitItemPerMinute(QUOTA)
    return lambda name: limiter.hit(quota, name) and limiter.get_window_stats(quota, name)


def _once(take: Callable[[str], object]) -> Once:
    names: Iterator[str] = cycle([f"client-{number}" for number in range(NAMES)])

    async def once() -> None:
        take(next(names))

    return once


def _kept_by_ours() -> int:
    limiter = LocalLimiter()
    for number in range(FLOOD):
        limiter.take((Policy("flood", QUOTA), str(number)))
    return len(limiter._full)  # noqa: SLF001  # nothing else needs its size


def _kept_by_theirs(limits: Any) -> int:
    storage = limits.storage.MemoryStorage()
    limiter = limits.strategies.FixedWindowRateLimiter(storage)
    for number in range(FLOOD):
        limiter.hit(limits.RateLimitItemPerMinute(QUOTA), str(number))
    return len(storage.storage)


def main() -> None:
    """Compare, and exit with the exceeded budgets."""
    environment = python(*PINS).parents[1]
    for packages in environment.glob("lib/python*/site-packages"):
        site.addsitedir(str(packages))
    limits: Any = importlib.import_module("limits")
    takes = {OURS: _ours(Policy("quota", QUOTA))}
    takes |= {name: _theirs(limits, name) for name in STRATEGIES}
    taken = run({name: _once(take) for name, take in takes.items()}, clock=process_time)
    fastest = min(seconds for name, seconds in taken.items() if name != OURS)
    ratios = {"ours / fastest": taken[OURS] / fastest}
    kept = {"ours": _kept_by_ours(), "limits": _kept_by_theirs(limits)}
    most = budget.of("rate_limit")
    exceeded = budget.exceeded(ratios, most)
    report(
        f"One attempt, in memory; names kept of {FLOOD:,}: {kept['ours']:,} by ours, "
        f"{kept['limits']:,} by limits",
        ["", "µs", "x fastest"],
        [[name, f"{each * 1e6:.2f}", f"{each / fastest:.2f}"] for name, each in taken.items()],
        {
            "bench": "rate_limit",
            "x": {name: round(each, 3) for name, each in ratios.items()},
            "kept": kept,
            "budget": most,
            "within_budget": not exceeded,
        },
    )
    raise SystemExit("; ".join(exceeded) or 0)


if __name__ == "__main__":
    main()
