"""Fuzz the service with request bodies: ``python -m bench.fuzz --bodies 100000``.

Invariants: a response in time, never a 5xx, and no planted secret in the logs. The first body that
violates one is shown, shrunk by Hypothesis. Then it searches for slow bodies: ``--slow 20000``
attempts, of which none may block the event loop beyond the budget.
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

ATTEMPTS_PER_BODY = 10
"""How often each body is sent, each time in another way."""


def fuzz(number: int) -> tuple[Counter[int], int]:
    """Send this many requests.

    Returns:
        Number of responses by status (0: the client disconnected), and of logged lines.

    Raises:
        InvariantError: One of them violated an invariant.
    """
    statuses: Counter[int] = Counter()
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        opened = target(Path(folder))
        service = runner.run(opened.__aenter__())
        try:

            @settings(
                max_examples=-(-number // ATTEMPTS_PER_BODY),
                database=None,
                deadline=None,
                report_multiple_bugs=False,
                phases=(Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
            )
            @given(bodies(), st.integers(0, 2**32))
            def check(body: Body, seed: int) -> None:
                rng = Random(seed)
                for _ in range(ATTEMPTS_PER_BODY):
                    statuses[runner.run(service.send(attempt(body, rng)))] += 1
                _show(statuses.total(), number)

            check()
            return statuses, service.log.lines
        finally:
            runner.run(opened.__aexit__(None, None, None))


def find_slow(attempts: int, seed: int) -> Slow:
    """The slowest body of this many attempts.

    Raises:
        InvariantError: One of them violated an invariant.
    """
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:

        async def search() -> Slow:
            async with target(Path(folder)) as service:
                return await Search(service, Random(seed)).run(attempts)

        return runner.run(search())


def _show(done: int, of: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done:,} of {of:,} bodies", end="", file=sys.stderr, flush=True)


def main() -> None:
    """Fuzz, and print the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    parser.add_argument("--bodies", type=int, default=20_000, help="how many (20000)")
    parser.add_argument(
        "--slow", type=int, default=5_000, help="attempts of the search for slow bodies (5000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the search for slow bodies (0)")
    options = parser.parse_args()
    began = monotonic()
    statuses, lines = fuzz(options.bodies) if options.bodies else (Counter[int](), 0)
    slow = find_slow(options.slow, options.seed) if options.slow else None
    within_budget = slow is None or slow.seconds <= BUDGET
    result = {
        "bench": "fuzz",
        "bodies": statuses.total(),
        "responses": {str(status): number for status, number in sorted(statuses.items())},
        "lines": lines,
        "slowest": slow
        and {
            "attempts": options.slow,
            "ms": round(slow.seconds * 1e3, 2),
            "budget_ms": BUDGET * 1e3,
            "bytes": len(slow.content),
            "us_per_byte": round(slow.rate * 1e6, 3),
            "to": " ".join(slow.endpoint),
            "begins": slow.content[:200].decode("latin-1"),
        },
        "seconds": round(monotonic() - began),
        "within_budget": within_budget,
    }
    print(json.dumps(result))
    raise SystemExit(not within_budget)


if __name__ == "__main__":
    main()
