"""Gentle, realistic traffic: ``python -m stack.traffic --url http://127.0.0.1:8000``.

It goes on while the API is away, and ends at once on SIGTERM or SIGINT.
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

from stack.terminal import tell
from stack.user_journeys import JOURNEYS, AwayError, Shop

WAVE_SECONDS = 600.0
"""A "day": the rate swings by half around its mean, so that graphs live."""
SUMMARY_SECONDS = 30.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
LONGEST_ANSWER = 15.0


class Pace:
    """Gives turns: at random moments, as many a second as the wave says.

    Args:
        rate: Mean turns per second.
        chance: Spaces the turns.
    """

    def __init__(self, rate: float, chance: random.Random) -> None:
        self._rate = rate
        self._chance = chance
        self._began = self._next = time.monotonic()

    async def turn(self) -> None:
        """Wait for the next turn."""
        now = time.monotonic()
        wave = 1 + 0.5 * math.sin((now - self._began) / WAVE_SECONDS * math.tau)
        self._next = max(self._next, now - 1) + self._chance.expovariate(self._rate * wave)
        await asyncio.sleep(self._next - now)


class Tally:
    """Counts answers until it is read."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._answers: Counter[str] = Counter()
        self._seconds: list[float] = []

    def add(self, answer: str, seconds: float) -> None:
        """Count one answer."""
        self._answers[answer] += 1
        self._seconds.append(seconds)

    def line(self) -> str:
        """Say in one line what came, and begin anew."""
        count, answers = len(self._seconds), sorted(self._answers.items())
        rate = count / max(time.monotonic() - self._began, 0.001)
        p95 = sorted(self._seconds)[int(count * 0.95)] if count else 0.0
        self._began = time.monotonic()
        self._answers.clear()
        self._seconds.clear()
        said = ", ".join(f"{status}: {number}" for status, number in answers) or "nothing"
        return f"traffic: {rate:.1f} requests/s, p95 {p95 * 1000:.0f} ms ({said})"


async def visit(shop: Shop) -> None:
    """One journey after another; while the shop is away, look for it less and less often."""
    journeys, weights = list(JOURNEYS), list(JOURNEYS.values())
    pause = FIRST_PAUSE
    while True:
        [journey] = shop.chance.choices(journeys, weights)
        try:
            await journey(shop)
        except AwayError:
            await asyncio.sleep(pause * shop.chance.uniform(0.5, 1.5))
            pause = min(pause * 2, LONGEST_PAUSE)
        except (ValueError, LookupError) as error:  # not the answer that was promised
            tell(f"traffic: {journey.__name__}: {error!r}", sys.stderr)
            await asyncio.sleep(FIRST_PAUSE)
        else:
            pause = FIRST_PAUSE


async def _summarise(tally: Tally) -> None:
    while True:
        await asyncio.sleep(SUMMARY_SECONDS)
        tell(tally.line())


async def run(options: argparse.Namespace) -> None:
    """Send traffic until the time is up or a signal comes."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    chance, tally = random.Random(options.seed_value), Tally()  # noqa: S311 - nothing is secret
    pace = Pace(options.rate, chance)
    # Nobody waits long for a turn, and answers may take a while without slowing the pace.
    visitors = max(4, round(options.rate * 2))
    async with httpx.AsyncClient(
        base_url=options.url,
        timeout=LONGEST_ANSWER,
        limits=httpx.Limits(max_connections=visitors),
        trust_env=False,
    ) as client:
        shop = Shop(
            client,
            chance,
            pace.turn,
            tally.add,
            password=_read(options.demo_password_file),
            admin_password=_read(options.admin_password_file),
            users=options.users,
        )
        tasks = [asyncio.create_task(visit(shop)) for _ in range(visitors)]
        tasks.append(asyncio.create_task(_summarise(tally)))
        over = asyncio.create_task(ended.wait())
        await asyncio.wait(
            (over, *tasks), timeout=options.seconds, return_when=asyncio.FIRST_COMPLETED
        )
        failed = [task for task in tasks if task.done()]
        for task in (over, *tasks):
            task.cancel()
        await asyncio.gather(over, *tasks, return_exceptions=True)
    tell(tally.line())
    for task in failed:
        task.result()  # a visitor never ends by itself: show why this one did


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m stack.traffic", description="Send gentle, realistic traffic to the API."
    )
    parser.add_argument("--url", required=True, help="such as http://127.0.0.1:8000")
    parser.add_argument(
        "--rate", type=float, default=15.0, metavar="N", help="requests per second (15)"
    )
    parser.add_argument(
        "--for", dest="seconds", type=float, metavar="SECONDS", help="else until it is stopped"
    )
    parser.add_argument(
        "--demo-password-file", type=Path, metavar="FILE", help="without it nobody buys"
    )
    parser.add_argument(
        "--admin-password-file", type=Path, metavar="FILE", help="without it no price changes"
    )
    parser.add_argument(
        "--users", type=int, default=50, metavar="N", help="log in as user1 to userN only (50)"
    )
    parser.add_argument("--seed-value", type=int, metavar="N", help="repeat the same choices")
    options = parser.parse_args(argv)
    if not 0 < options.rate <= 1000:  # noqa: PLR2004 - this is no load test
        parser.error("--rate must lie above 0 and be at most 1000")
    for path in (options.demo_password_file, options.admin_password_file):
        if path and not path.is_file():
            parser.error(f"{path} does not exist: python -m service.seed makes it")
    return options


def _read(secret: Path | None) -> str | None:
    return secret.read_text().strip() if secret else None


if __name__ == "__main__":
    asyncio.run(run(arguments()))
