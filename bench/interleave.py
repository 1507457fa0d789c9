"""Compare ways to do the same thing, in interleaved rounds.

The machine is noisy: only what was measured in one run, taking turns, may be compared. Each figure
is the 20th percentile of its rounds, which leaves out what the neighbours did.
"""

import asyncio
import gc
import json
import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.table import Table

Once = Callable[[], Awaitable[None]]


async def compare(
    ways: Mapping[str, Once],
    *,
    rounds: int = 40,
    calls: int = 300,
    clock: Callable[[], float] = perf_counter,
) -> dict[str, float]:
    """Seconds a call of each way takes.

    Args:
        ways: What is compared, by name; each is awaited `calls` times a round.
        rounds: How often each takes its turn.
        calls: Calls of one turn.
        clock: Says the time in seconds; ``process_time`` leaves out waiting, and the neighbours.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for once in ways.values():
        for _ in range(calls):
            await once()
    names = list(ways)
    for number in range(rounds):
        gc.collect()
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            once = ways[name]
            started = clock()
            for _ in range(calls):
                await once()
            taken[name].append((clock() - started) / calls)
        if sys.stderr.isatty():
            print(f"\rround {number + 1} of {rounds}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return {name: usual(each) for name, each in taken.items()}


def usual(taken: Sequence[float]) -> float:
    """What something takes when the neighbours are quiet."""
    return statistics.quantiles(taken, n=5)[0]


def run(ways: Mapping[str, Once], **options: Any) -> dict[str, float]:
    """`compare` on an event loop of its own."""
    return asyncio.run(compare(ways, **options))


def report(
    title: str, columns: list[str], rows: list[list[str]], result: Mapping[str, Any]
) -> None:
    """Print a table for people and one JSON line for programs."""
    show(title, columns, rows)
    print(json.dumps(result))


def show(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table."""
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
