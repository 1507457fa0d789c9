"""What watching queries costs: time, against OpenTelemetry's instrumentor too, and memory.

The query is a select by primary key on a held connection. What is promised of it is the time that
its caller waits; the processor's alone is told as well, and is what is compared with the
instrumentor: waiting makes any addition look smaller than it is. The instrumentor refuses the
SQLAlchemy that we are made for; so both are measured once more on one that it supports, in an
environment of its own, in one process, taking turns.

``python -m bench.queries``; PostgreSQL takes part where it is installed.
"""

import argparse
import asyncio
import json
import subprocess
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

from bench import environment
from bench.databases import installed, postgresql
from bench.interleave import report
from bench.queries import memory
from bench.queries.variants import AGAIN, LISTENED, OURS, PLAIN, listened, measure, ours, unwatched

PEER = (
    "aiosqlite==0.22.1",
    "asyncpg==0.32.0",
    "fastapi==0.165.0",
    "opentelemetry-instrumentation-sqlalchemy==0.66b1",
    "opentelemetry-sdk==1.45.1",
    "rich==15.0.0",
    "sqlalchemy[asyncio]==2.0.51",
    "structlog==26.1.0",
)
"""The instrumentor with the newest SQLAlchemy that it supports, and what we need of ours."""

SPANS = "OpenTelemetry's instrumentor"
WATCHED, SHARE, MEMORY = 1.05, 1 / 6, 30.0
"""A watched query against an unwatched one; our addition as a share of the instrumentor's; MB that
100,000 different statements may leave behind."""
WAYS = {PLAIN: unwatched, AGAIN: unwatched, OURS: ours, LISTENED: listened}

Taken = dict[str, float]


def beside_the_instrumentor(url: str, rounds: int, calls: int) -> Taken:
    """Seconds of each way, the instrumentor's too, on a SQLAlchemy that it supports."""
    python = environment.python(*PEER)
    words = [str(python), "-m", "bench.queries.instrumentor", url]
    words += [f"--rounds={rounds}", f"--calls={calls}"]
    home = Path(__file__).parents[2]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=home)  # noqa: S603
    taken: Taken = json.loads(done.stdout)
    return taken


def plain_of(taken: Taken) -> float:
    """Seconds of a query that is not watched: the mean of both measurements."""
    return (taken[PLAIN] + taken[AGAIN]) / 2


def rows_of(title: str, taken: Taken) -> list[list[str]]:
    """A table's rows for one database."""
    plain = plain_of(taken)
    return [
        [
            f"{title}, {name}",
            f"{each * 1e6:.1f}",
            f"{(each - plain) * 1e6:+.1f}",
            f"{each / plain:.3f}",
        ]
        for name, each in taken.items()
    ]


def main() -> None:
    """Measure, print, and say in the exit code whether the promises hold."""
    parser = argparse.ArgumentParser(prog="python -m bench.queries", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="turns each way takes (40)")
    parser.add_argument("--calls", type=int, default=200, help="queries of a turn (200)")
    options = parser.parse_args()
    rows, ratios, promised, told = [], {}, {}, {}
    with ExitStack() as stack:
        urls = {"sqlite3": "sqlite://", "aiosqlite": "sqlite+aiosqlite://"}
        if installed():
            urls["asyncpg"] = stack.enter_context(postgresql(shared_buffers="64MB")).database()
        for driver, url in urls.items():
            taken = asyncio.run(measure(url, WAYS, rounds=options.rounds, calls=options.calls))
            rows += rows_of(f"{driver}, processor", taken)
            if driver != "sqlite3":  # which waits for nobody: any addition is large beside it
                told[driver] = taken[OURS] / plain_of(taken)
                waited = measure(
                    url, WAYS, rounds=options.rounds, calls=options.calls, clock=perf_counter
                )
                taken = asyncio.run(waited)
                rows += rows_of(driver, taken)
                ratios[driver], promised[driver] = taken[OURS] / plain_of(taken), WATCHED
            peer = beside_the_instrumentor(url, options.rounds, options.calls)
            rows += rows_of(f"{driver}, SQLAlchemy 2.0", peer)
            name = f"of the instrumentor's, {driver}"
            ratios[name] = (peer[OURS] - plain_of(peer)) / (peer[SPANS] - plain_of(peer))
            promised[name] = SHARE
    ratios["MB of 100,000 statements"], promised["MB of 100,000 statements"] = (
        memory.measure(),
        MEMORY,
    )
    rows += [
        [f"x {name}", f"{ratio:.3f}", "promised", f"{promised[name]:.3f}"]
        for name, ratio in ratios.items()
    ]
    rows += [[f"x {name}, processor", f"{ratio:.3f}", "", ""] for name, ratio in told.items()]
    holds = all(ratio <= promised[name] for name, ratio in ratios.items())
    report(
        "What watching a query adds",
        ["", "µs a query", "µs added", "x not watched"],
        rows,
        {
            "bench": "queries",
            "x": {name: round(ratio, 4) for name, ratio in ratios.items()},
            "x of the processor": {name: round(ratio, 4) for name, ratio in told.items()},
            "holds": holds,
        },
    )
    raise SystemExit(not holds)


if __name__ == "__main__":
    main()
