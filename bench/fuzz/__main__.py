"""Send the service what nobody should: ``python -m bench.fuzz --bodies 100000``.

It answers each in time, never with a 5xx, and no secret that was planted in a body is logged. The
first body that breaks a promise is shown, made as short as it can be. Then it looks for bodies that
take long: ``--slow 20000`` attempts, of which none may hold the event loop beyond its budget.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random
from time import monotonic

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bench.fuzz.generators import Body, attempt, bodies
from bench.fuzz.slow import BUDGET, Search, Slow
from bench.fuzz.target import target

WAYS = 10
"""How often each body is sent, in as many ways."""


def fuzz(number: int) -> tuple[Counter[int], int]:
    """Make so many attempts.

    Returns:
        How many answers had which status (0: none, the client had left), and lines logged.

    Raises:
        BrokenPromiseError: One of them did what never may be done.
    """
    statuses: Counter[int] = Counter()
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        opened = target(Path(folder))
        aimed = runner.run(opened.__aenter__())
        try:

            @settings(
                max_examples=-(-number // WAYS),
                database=None,
                deadline=None,
                report_multiple_bugs=False,
                phases=(Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
            )
            @given(bodies(), st.integers(0, 2**32))
            def check(body: Body, seed: int) -> None:
                chance = Random(seed)
                for _ in range(WAYS):
                    statuses[runner.run(aimed.judge(attempt(body, chance)))] += 1
                _show(statuses.total(), number)

            check()
            return statuses, aimed.log.lines
        finally:
            runner.run(opened.__aexit__(None, None, None))


def look_for_slow(attempts: int, seed: int) -> Slow:
    """The body that took the longest, of so many attempts.

    Raises:
        BrokenPromiseError: One of them did what never may be done.
    """
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:

        async def search() -> Slow:
            async with target(Path(folder)) as aimed:
                return await Search(aimed, Random(seed)).run(attempts)

        return runner.run(search())


def _show(done: int, of: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done:,} of {of:,} bodies", end="", file=sys.stderr, flush=True)


def main() -> None:
    """Fuzz, and tell."""
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    parser.add_argument("--bodies", type=int, default=20_000, help="how many (20000)")
    parser.add_argument("--slow", type=int, default=5_000, help="attempts to be slow (5000)")
    parser.add_argument("--seed", type=int, default=0, help="of the search for slow ones (0)")
    options = parser.parse_args()
    began = monotonic()
    statuses, lines = fuzz(options.bodies) if options.bodies else (Counter[int](), 0)
    slow = look_for_slow(options.slow, options.seed) if options.slow else None
    holds = slow is None or slow.seconds <= BUDGET
    result = {
        "bench": "fuzz",
        "bodies": statuses.total(),
        "answers": {str(status): number for status, number in sorted(statuses.items())},
        "lines": lines,
        "slowest": slow
        and {
            "attempts": options.slow,
            "ms": round(slow.seconds * 1e3, 2),
            "budget_ms": BUDGET * 1e3,
            "bytes": len(slow.content),
            "us_per_byte": round(slow.rate * 1e6, 3),
            "to": " ".join(slow.place),
            "begins": slow.content[:200].decode("latin-1"),
        },
        "seconds": round(monotonic() - began),
        "holds": holds,
    }
    print(json.dumps(result))
    raise SystemExit(not holds)


if __name__ == "__main__":
    main()
