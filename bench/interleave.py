"""Compares variants of an operation in interleaved rounds.

The machine is noisy: only figures of one interleaved run may be compared. Each figure is the 20th
percentile of its rounds, which leaves out disturbance by other processes.
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
    variants: Mapping[str, Once],
    *,
    rounds: int = 40,
    calls: int = 300,
    clock: Callable[[], float] = perf_counter,
) -> dict[str, float]:
    """Seconds per call of each variant.

    Args:
        variants: The compared operations by name; each is awaited `calls` times per round.
        rounds: Number of rounds.
        calls: Calls per round.
        clock: Clock in seconds; ``process_time`` leaves out waiting and other processes.
    """
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for once in variants.values():
        for _ in range(calls):
            await once()
    names = list(variants)
    for number in range(rounds):
        gc.collect()
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            once = variants[name]
            started = clock()
            for _ in range(calls):
                await once()
            taken[name].append((clock() - started) / calls)
        if sys.stderr.isatty():
            print(f"\rround {number + 1} of {rounds}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return {name: quiet_percentile(each) for name, each in taken.items()}


def quiet_percentile(taken: Sequence[float]) -> float:
    """The 20th percentile: the time without disturbance by other processes."""
    return statistics.quantiles(taken, n=5)[0]


def run(variants: Mapping[str, Once], **options: Any) -> dict[str, float]:
    """`compare` on an event loop of its own."""
    return asyncio.run(compare(variants, **options))


def report(
    title: str, columns: list[str], rows: list[list[str]], result: Mapping[str, Any]
) -> None:
    """Print a table, and one line of JSON for programs."""
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
