"""Overhead of query instrumentation in time, also against OpenTelemetry's, and in memory.

The query is a select by primary key on a held connection. Its budget is for the time that the
caller waits. The processor time is reported as well, and is what is compared with the instrumentor:
waiting makes any overhead look smaller. OpenTelemetry's instrumentor refuses our version of
SQLAlchemy, so both are measured again on one that it supports, in a separate environment,
interleaved in one process.

``python -m bench.queries``; PostgreSQL is included if it is installed.
"""

import argparse
import asyncio
import json
import subprocess
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

from bench import virtualenvs
from bench.databases import installed, postgresql
from bench.interleave import report
from bench.queries import memory
from bench.queries.variants import (
    AGAIN,
    ENGINE_EVENTS,
    OURS,
    PLAIN,
    engine_events,
    measure,
    ours,
    uninstrumented,
)

ALTERNATIVE = (
    "aiosqlite==0.22.1",
    "asyncpg==0.32.0",
    "fastapi==0.165.0",
    "google-re2==1.1.20251105",
    "msgspec==0.22.0",
    "opentelemetry-instrumentation-sqlalchemy==0.66b1",
    "opentelemetry-sdk==1.45.1",
    "rich==15.0.0",
    "sqlalchemy[asyncio]==2.0.51",
    "structlog==26.1.0",
)
"""The instrumentor with the newest SQLAlchemy that it supports, and our dependencies."""

SPANS = "OpenTelemetry's instrumentor"
MAX_QUERY_RATIO, MAX_SHARE_OF_INSTRUMENTOR, MAX_MEGABYTES = 1.05, 1 / 6, 30.0
"""Budgets: an instrumented query against a plain one; our overhead as a share of
OpenTelemetry's; megabytes kept after 100,000 different statements."""
VARIANTS = {PLAIN: uninstrumented, AGAIN: uninstrumented, OURS: ours, ENGINE_EVENTS: engine_events}

Taken = dict[str, float]


def measure_with_instrumentor(url: str, rounds: int, calls: int) -> Taken:
    """Seconds of each variant including the instrumentor, on a SQLAlchemy that it supports."""
    python = virtualenvs.python(*ALTERNATIVE)
    command = [str(python), "-m", "bench.queries.instrumentor", url]
    command += [f"--rounds={rounds}", f"--calls={calls}"]
    home = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=home)  # noqa: S603
    taken: Taken = json.loads(done.stdout)
    return taken


def plain_seconds(taken: Taken) -> float:
    """Seconds of a query without instrumentation: the mean of both measurements."""
    return (taken[PLAIN] + taken[AGAIN]) / 2


def table_rows(title: str, taken: Taken) -> list[list[str]]:
    """Rows of the table for one database."""
    plain = plain_seconds(taken)
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
    """Measure and print; the exit code says whether all budgets are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.queries", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="rounds of each variant (40)")
    parser.add_argument("--calls", type=int, default=200, help="queries per round (200)")
    options = parser.parse_args()
    rows, ratios, budget, processor_ratios = [], {}, {}, {}
    with ExitStack() as stack:
        urls = {"sqlite3": "sqlite://", "aiosqlite": "sqlite+aiosqlite://"}
        if installed():
            urls["asyncpg"] = stack.enter_context(postgresql(shared_buffers="64MB")).database()
        for driver, url in urls.items():
            taken = asyncio.run(measure(url, VARIANTS, rounds=options.rounds, calls=options.calls))
            rows += table_rows(f"{driver}, processor", taken)
            if driver != "sqlite3":  # synchronous: any overhead is large in comparison
                processor_ratios[driver] = taken[OURS] / plain_seconds(taken)
                waited = measure(
                    url, VARIANTS, rounds=options.rounds, calls=options.calls, clock=perf_counter
                )
                taken = asyncio.run(waited)
                rows += table_rows(driver, taken)
                ratios[driver], budget[driver] = taken[OURS] / plain_seconds(taken), MAX_QUERY_RATIO
            alternative = measure_with_instrumentor(url, options.rounds, options.calls)
            rows += table_rows(f"{driver}, SQLAlchemy 2.0", alternative)
            name = f"of the instrumentor's, {driver}"
            ratios[name] = (alternative[OURS] - plain_seconds(alternative)) / (
                alternative[SPANS] - plain_seconds(alternative)
            )
            budget[name] = MAX_SHARE_OF_INSTRUMENTOR
    ratios["MB of 100,000 statements"], budget["MB of 100,000 statements"] = (
        memory.measure(),
        MAX_MEGABYTES,
    )
    rows += [
        [f"x {name}", f"{ratio:.3f}", "budget", f"{budget[name]:.3f}"]
        for name, ratio in ratios.items()
    ]
    rows += [
        [f"x {name}, processor", f"{ratio:.3f}", "", ""] for name, ratio in processor_ratios.items()
    ]
    within_budget = all(ratio <= budget[name] for name, ratio in ratios.items())
    report(
        "Overhead of query instrumentation",
        ["", "µs a query", "µs added", "x not instrumented"],
        rows,
        {
            "bench": "queries",
            "x": {name: round(ratio, 4) for name, ratio in ratios.items()},
            "x of the processor": {
                name: round(ratio, 4) for name, ratio in processor_ratios.items()
            },
            "within_budget": within_budget,
        },
    )
    raise SystemExit(not within_budget)


if __name__ == "__main__":
    main()
