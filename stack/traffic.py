"""Light, realistic traffic: ``python -m stack.traffic --url http://127.0.0.1:8000``.

It continues while the API is unavailable, and ends immediately on SIGTERM or SIGINT.
"""

import argparse
import asyncio
import math
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx

from stack.terminal import print_line
from stack.user_journeys import JOURNEYS, ShopClient, ShopUnavailableError

WAVE_SECONDS = 600.0
"""Period of the rate, which varies by half around its mean so that graphs show a pattern."""
SUMMARY_SECONDS = 30.0
MIN_BACKOFF, MAX_BACKOFF = 0.5, 8.0
TIMEOUT = 15.0


class PoissonArrivals:
    """Request times of a Poisson process whose rate follows a sine wave.

    Args:
        rate: Mean requests per second.
        rng: Random source of the intervals.
    """

    def __init__(self, rate: float, rng: random.Random) -> None:
        self._rate = rate
        self._rng = rng
        self._began = self._next = time.monotonic()

    async def wait(self) -> None:
        """Wait for the next request time."""
        now = time.monotonic()
        wave = 1 + 0.5 * math.sin((now - self._began) / WAVE_SECONDS * math.tau)
        self._next = max(self._next, now - 1) + self._rng.expovariate(self._rate * wave)
        await asyncio.sleep(self._next - now)


class RequestStats:
    """Counts responses since the last summary."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._statuses: Counter[str] = Counter()
        self._seconds: list[float] = []

    def add(self, status: str, seconds: float) -> None:
        """Count one response."""
        self._statuses[status] += 1
        self._seconds.append(seconds)

    def summary(self) -> str:
        """Return a one-line summary and reset."""
        count, statuses = len(self._seconds), sorted(self._statuses.items())
        rate = count / max(time.monotonic() - self._began, 0.001)
        p95 = sorted(self._seconds)[int(count * 0.95)] if count else 0.0
        self._began = time.monotonic()
        self._statuses.clear()
        self._seconds.clear()
        counts = ", ".join(f"{status}: {number}" for status, number in statuses) or "no requests"
        return f"traffic: {rate:.1f} requests/s, p95 {p95 * 1000:.0f} ms ({counts})"


async def visit(shop: ShopClient) -> None:
    """Run one journey after another, with exponential backoff while the shop is unavailable."""
    journeys, weights = list(JOURNEYS), list(JOURNEYS.values())
    backoff = MIN_BACKOFF
    while True:
        [journey] = shop.rng.choices(journeys, weights)
        try:
            await journey(shop)
        except ShopUnavailableError:
            await asyncio.sleep(backoff * shop.rng.uniform(0.5, 1.5))
            backoff = min(backoff * 2, MAX_BACKOFF)
        except (ValueError, LookupError) as error:  # unexpected response content
            print_line(f"traffic: {journey.__name__}: {error!r}", sys.stderr)
            await asyncio.sleep(MIN_BACKOFF)
        else:
            backoff = MIN_BACKOFF


async def _summarise(stats: RequestStats) -> None:
    while True:
        await asyncio.sleep(SUMMARY_SECONDS)
        print_line(stats.summary())


async def run(options: argparse.Namespace) -> None:
    """Send traffic until the time is up or a signal comes."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    rng, stats = random.Random(options.seed_value), RequestStats()  # noqa: S311 - not for secrets
    arrivals = PoissonArrivals(options.rate, rng)
    # Enough visitors that slow responses do not lower the request rate.
    visitors = max(4, round(options.rate * 2))
    async with httpx.AsyncClient(
        base_url=options.url,
        timeout=TIMEOUT,
        limits=httpx.Limits(max_connections=visitors),
        trust_env=False,
    ) as client:
        shop = ShopClient(
            client,
            rng,
            arrivals.wait,
            stats.add,
            password=_read(options.demo_password_file),
            admin_password=_read(options.admin_password_file),
            users=options.users,
        )
        tasks = [asyncio.create_task(visit(shop)) for _ in range(visitors)]
        tasks.append(asyncio.create_task(_summarise(stats)))
        stop = asyncio.create_task(stopped.wait())
        await asyncio.wait(
            (stop, *tasks), timeout=options.seconds, return_when=asyncio.FIRST_COMPLETED
        )
        failed = [task for task in tasks if task.done()]
        for task in (stop, *tasks):
            task.cancel()
        await asyncio.gather(stop, *tasks, return_exceptions=True)
    print_line(stats.summary())
    for task in failed:
        task.result()  # a visitor must not end by itself: raise its error


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m stack.traffic", description="Send light, realistic traffic to the API."
    )
    parser.add_argument("--url", required=True, help="such as http://127.0.0.1:8000")
    parser.add_argument(
        "--rate", type=float, default=15.0, metavar="N", help="requests per second (15)"
    )
    parser.add_argument(
        "--for",
        dest="seconds",
        type=float,
        metavar="SECONDS",
        help="default: until it is stopped",
    )
    parser.add_argument(
        "--demo-password-file", type=Path, metavar="FILE", help="without it there are no orders"
    )
    parser.add_argument(
        "--admin-password-file",
        type=Path,
        metavar="FILE",
        help="without it no price changes",
    )
    parser.add_argument(
        "--users", type=int, default=50, metavar="N", help="log in as user1 to userN only (50)"
    )
    parser.add_argument("--seed-value", type=int, metavar="N", help="repeat the same choices")
    options = parser.parse_args(argv)
    if not 0 < options.rate <= 1000:  # noqa: PLR2004 - this is no load test
        parser.error("--rate must be above 0 and at most 1000")
    for path in (options.demo_password_file, options.admin_password_file):
        if path and not path.is_file():
            parser.error(f"{path} does not exist: run python -m service.seed")
    return options


def _read(secret: Path | None) -> str | None:
    return secret.read_text().strip() if secret else None


if __name__ == "__main__":
    asyncio.run(run(arguments()))
