"""Tests the index advisor with real indexes: ``python -m bench.advice --orders 1000000``.

The advisor gets statements on a shop without indexes. The advised indexes are really built, and the
statement is timed before and after. Where it should give no advice, a plausible index is built as
well, to show that it does not help. Needs PostgreSQL with HypoPG.
"""

import argparse
import asyncio
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from bench import budget
from bench.advice.connections import max_connections
from bench.advice.statements import HELPED, NOT_HELPED, SMALL, Statement
from bench.databases import installed
from bench.endpoints.fixtures import Fixture, Size, on_postgresql
from bench.interleave import report
from service.db.database import Database, connect
from vitals.db.indexes.postgresql_advisor import Advice, advise

HELPS = 0.8
"""An index has helped if the statement takes at most this share of its time."""


QUICK, REPEAT_FACTOR = 0.001, 20
"""Statements faster than this many seconds are executed this many times more often."""


@dataclass
class Trial:
    """Result of one statement.

    Attributes:
        statement: The statement.
        advice: The advice.
        advice_seconds: Seconds of the advisor, the best of five.
        before: Seconds of the statement.
        after: The same with the indexes; None if none were built.
        built: The built indexes.
    """

    statement: Statement
    advice: Advice
    advice_seconds: float
    before: float
    after: float | None = None
    built: list[str] = field(default_factory=list)


async def timed(connection: AsyncConnection, statement: Statement, rounds: int) -> float:
    """Seconds of the real statement; its writes are rolled back.

    Statements faster than a millisecond are repeated more often, because noise is larger there.
    """
    taken: list[float] = []
    while len(taken) <= rounds or (min(taken) < QUICK and len(taken) <= rounds * REPEAT_FACTOR):
        started = perf_counter()
        result = await connection.exec_driver_sql(statement.sql, statement.values)
        if result.returns_rows:
            result.all()
        taken.append(perf_counter() - started)
        await connection.rollback()
    return min(taken[1:])


async def try_advice(database: Database, statement: Statement, rounds: int) -> Trial:
    """Get the advice, build the indexes, and time the statement."""
    async with database.writer.connect() as connection:
        advice_seconds = []
        for _ in range(5):
            started = perf_counter()
            advice = await connection.run_sync(advise, statement.sql, statement.values)
            advice_seconds.append(perf_counter() - started)
        before = await timed(connection, statement, rounds)
        trial = Trial(statement, advice, min(advice_seconds), before)
        trial.built = advice.indexes or ([statement.candidate] if statement.candidate else [])
        if trial.built:
            names = [f"built_{number}" for number, _ in enumerate(trial.built)]
            for name, sql in zip(names, trial.built, strict=True):
                unnamed = sql.replace("INDEX candidate ON", "INDEX ON")
                await connection.execute(text(unnamed.replace("INDEX ON", f"INDEX {name} ON")))
            await connection.commit()
            trial.after = await timed(connection, statement, rounds)
            for name in names:
                await connection.execute(text(f"DROP INDEX {name}"))
            await connection.commit()
            trial.before = min(before, await timed(connection, statement, rounds))
    return trial


async def measure(fixture: Fixture, rounds: int) -> tuple[list[Trial], int]:
    """All trials, those that should get no advice last; and the number of extra connections."""
    naive, ours = connect(fixture.naive), connect(fixture.ours)
    found = []
    try:
        async with naive.writer.begin() as connection:
            await connection.execute(text(SMALL))
            await connection.execute(text("ANALYZE carriers"))
            await connection.execute(text("DROP INDEX IF EXISTS ix_order_items_product"))
        for number, statement in enumerate((*HELPED, *NOT_HELPED), 1):
            of = f"{number} of {len(HELPED) + len(NOT_HELPED)}"
            print(f"{of}: {statement.name}", file=sys.stderr, flush=True)
            found.append(await try_advice(ours if statement.indexed else naive, statement, rounds))
        extra = await max_connections(fixture.naive, HELPED)
    finally:
        await naive.close()
        await ours.close()
    return found, extra


def row(trial: Trial) -> list[str]:
    """A row of the table."""
    after = trial.after
    advised = "; ".join(trial.advice.indexes).replace("CREATE INDEX ON ", "").replace('"', "")
    advised = advised.replace("public.", "") or "none"
    if trial.built and not trial.advice.indexes:
        advised += f" (tried: {trial.statement.candidate.partition(' ON ')[2]})"
    return [
        trial.statement.name,
        advised,
        f"{trial.before * 1000:.2f}",
        f"{after * 1000:.2f}" if after is not None else "",
        f"{after / trial.before:.4f}" if after is not None else "",
        f"{trial.advice_seconds * 1000:.0f}",
    ]


def main() -> None:
    """Measure and print; the exit code says whether all budgets are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.advice", description=__doc__)
    parser.add_argument("--users", type=int, default=20_000, help="in the shop (20,000)")
    parser.add_argument("--products", type=int, default=50_000, help="likewise (50,000)")
    parser.add_argument("--orders", type=int, default=100_000, help="likewise (100,000)")
    parser.add_argument("--rounds", type=int, default=5, help="executions of each statement (5)")
    options = parser.parse_args()
    if not installed():
        print("bench.advice needs PostgreSQL: run python -m stack install", file=sys.stderr)
        return
    size = Size(options.users, options.products, options.orders)
    with tempfile.TemporaryDirectory() as folder, on_postgresql(Path(folder), size) as fixture:
        found, extra = asyncio.run(measure(fixture, options.rounds))
    report_trials(found, extra, options.orders)


def report_trials(found: list[Trial], extra: int, orders: int) -> None:
    """Print the results; exit with the exceeded budgets."""
    advised = [one for one in found if one.advice.indexes]
    figures = {
        "worst advice, time after / before": max(
            (one.after or 0.0) / one.before for one in advised
        ),
        "advice where none helps": float(sum(one.statement in NOT_HELPED for one in advised)),
        "helped without advice": float(
            sum(one.statement in HELPED and not one.advice.indexes for one in found)
        ),
        "no advice where an index would have helped": float(
            sum((one.after or one.before) < one.before * HELPS for one in found
                if not one.advice.indexes)
        ),
        "milliseconds an advice, at most": max(one.advice_seconds for one in found) * 1000,
        "connections more than the application's": float(extra),
    }  # fmt: skip
    limits = budget.of("advice")
    exceeded = budget.exceeded(figures, limits)
    columns = ["statement", "advised", "ms", "ms then", "after / before", "ms to advise"]
    report(f"Advice on {orders:,} orders, built and timed", columns, list(map(row, found)), {})
    result: dict[str, Any] = {
        "bench": "advice",
        "orders": orders,
        "advised": len(advised),
        "no advice": len(found) - len(advised),
        "figures": {name: round(each, 4) for name, each in figures.items()},
        "budget": limits,
        "within_budget": not exceeded,
    }
    rows = [[n, f"{each:.3g}", f"{limits.get(n, ''):g}"] for n, each in figures.items()]
    report("Budgets", ["", "is", "at most"], rows, result)
    raise SystemExit("; ".join(exceeded) or 0)


if __name__ == "__main__":
    main()
