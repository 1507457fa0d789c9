"""Try to reach what is behind the door without a login: ``python -m bench.door --tricks 3000``.

A real Caddy with the door's configuration; behind it a witness that counts connections, of which
there may be none. Prints the statuses by kind of trick; ends with 1 if one reached anything.
"""

import argparse
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from bench.door import attempts
from bench.door.tricks import Trick, tricks
from bench.door.watched_door import opened
from stack.text_table import text_table

_THREADS = 16
"""Most of them wait for an answer that does not come."""


def main() -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.door", description=__doc__)
    parser.add_argument("--tricks", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--caddy", default="caddy", help="the program; default: %(default)s")
    options = parser.parse_args()
    with opened(options.caddy) as door, ThreadPoolExecutor(_THREADS) as threads:
        if not attempts.witness_works(door):
            print("a request with the login did not reach the witness: nothing would be proven")
            return 1
        before = door.witness.reached
        made = list(tricks(options.tricks, door.authority, options.seed))
        outcomes = list(threads.map(lambda trick: attempts.outcome(door, trick), made))
        _report(made, outcomes)
        suspicious = [
            (trick, each) for trick, each in zip(made, outcomes, strict=True) if not each.refused
        ]
        for trick, each in suspicious[:20]:
            print(f"{trick.kind}: {trick.request[:300]!r}\n  {each.answer[:300]!r}")
        reached = door.witness.reached - before
        print(
            f"{len(made)} tricks: {reached} reached anything, {len(suspicious)} answers suspicious"
        )
        return 1 if reached or suspicious or not attempts.witness_works(door) else 0


def _report(made: list[Trick], outcomes: list[attempts.Outcome]) -> None:
    counts: Counter[tuple[str, str]] = Counter(
        (trick.kind, each.status) for trick, each in zip(made, outcomes, strict=True)
    )
    rows = [(kind, status, count) for (kind, status), count in sorted(counts.items())]
    print(text_table(rows, ("trick", "answer", "number"), right=(2,)))


if __name__ == "__main__":
    sys.exit(main())
