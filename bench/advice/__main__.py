"""Whether the advice on indexes is true: ``python -m bench.advice --orders 1000000``.

Statements about a shop without indexes are shown to the advisor. Whatever it advises is really
built, and the real statement timed before and after. Where it should be silent, an index that a
person might try is built too, to show that silence was right. Needs PostgreSQL with HypoPG.
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
from bench.advice.connections import most_at_once
from bench.advice.statements import HELPED, LEFT_ALONE, SMALL, Asked
from bench.databases import installed
from bench.endpoints.fixtures import Size, Stage, on_postgresql
from bench.interleave import report
from service.db.database import Database, connect
from vitals.db.indexes.postgresql_advisor import Advice, advise

HELPS = 0.8
"""Share of its time that a statement may still take for an index to have helped."""


QUICK, OFTENER = 0.001, 20
"""Seconds below which a statement is executed so many times more often."""


@dataclass
class Verdict:
    """What came of one statement.

    Attributes:
        asked: The statement.
        advice: What the advisor said.
        asking: Seconds that took, the best of five: others use the machine too.
        before: Seconds the statement took.
        after: The same with the indexes; None where nothing was built.
        built: Which.
    """

    asked: Asked
    advice: Advice
    asking: float
    before: float
    after: float | None = None
    built: list[str] = field(default_factory=list)


async def timed(connection: AsyncConnection, asked: Asked, rounds: int) -> float:
    """Seconds that the real statement takes; what it writes is rolled back.

    One that takes less than a millisecond is repeated more often: there noise is a larger part.
    """
    taken: list[float] = []
    while len(taken) <= rounds or (min(taken) < QUICK and len(taken) <= rounds * OFTENER):
        started = perf_counter()
        result = await connection.exec_driver_sql(asked.sql, asked.values)
        if result.returns_rows:
            result.all()
        taken.append(perf_counter() - started)
        await connection.rollback()
    return min(taken[1:])


async def judge(database: Database, asked: Asked, rounds: int) -> Verdict:
    """Ask, build, and time."""
    async with database.writer.connect() as connection:
        asking = []
        for _ in range(5):
            started = perf_counter()
            advice = await connection.run_sync(advise, asked.sql, asked.values)
            asking.append(perf_counter() - started)
        before = await timed(connection, asked, rounds)
        verdict = Verdict(asked, advice, min(asking), before)
        verdict.built = advice.indexes or ([asked.tried] if asked.tried else [])
        if verdict.built:
            names = [f"built_{number}" for number, _ in enumerate(verdict.built)]
            for name, sql in zip(names, verdict.built, strict=True):
                unnamed = sql.replace("INDEX tried ON", "INDEX ON")
                await connection.execute(text(unnamed.replace("INDEX ON", f"INDEX {name} ON")))
            await connection.commit()
            verdict.after = await timed(connection, asked, rounds)
            for name in names:
                await connection.execute(text(f"DROP INDEX {name}"))
            await connection.commit()
            verdict.before = min(before, await timed(connection, asked, rounds))
    return verdict


async def measure(stage: Stage, rounds: int) -> tuple[list[Verdict], int]:
    """All verdicts, those on statements that should be left alone last; extra connections."""
    naive, ours = connect(stage.naive), connect(stage.ours)
    found = []
    try:
        async with naive.writer.begin() as connection:
            await connection.execute(text(SMALL))
            await connection.execute(text("ANALYZE carriers"))
            await connection.execute(text("DROP INDEX IF EXISTS ix_order_items_product"))
        for number, asked in enumerate((*HELPED, *LEFT_ALONE), 1):
            of = f"{number} of {len(HELPED) + len(LEFT_ALONE)}"
            print(f"{of}: {asked.name}", file=sys.stderr, flush=True)
            found.append(await judge(ours if asked.indexed else naive, asked, rounds))
        extra = await most_at_once(stage.naive, HELPED)
    finally:
        await naive.close()
        await ours.close()
    return found, extra


def row(verdict: Verdict) -> list[str]:
    """A line of the table."""
    after = verdict.after
    advised = "; ".join(verdict.advice.indexes).replace("CREATE INDEX ON ", "").replace('"', "")
    advised = advised.replace("public.", "") or "none"
    if verdict.built and not verdict.advice.indexes:
        advised += f" (tried: {verdict.asked.tried.partition(' ON ')[2]})"
    return [
        verdict.asked.name,
        advised,
        f"{verdict.before * 1000:.2f}",
        f"{after * 1000:.2f}" if after is not None else "",
        f"{after / verdict.before:.4f}" if after is not None else "",
        f"{verdict.asking * 1000:.0f}",
    ]


def main() -> None:
    """Measure, print, and say in the exit code whether the promises hold."""
    parser = argparse.ArgumentParser(prog="python -m bench.advice", description=__doc__)
    parser.add_argument("--users", type=int, default=20_000, help="in the shop (20,000)")
    parser.add_argument("--products", type=int, default=50_000, help="likewise (50,000)")
    parser.add_argument("--orders", type=int, default=100_000, help="likewise (100,000)")
    parser.add_argument("--rounds", type=int, default=5, help="executions of each statement (5)")
    options = parser.parse_args()
    if not installed():
        print("bench.advice needs PostgreSQL: python -m stack install", file=sys.stderr)
        return
    size = Size(options.users, options.products, options.orders)
    with tempfile.TemporaryDirectory() as folder, on_postgresql(Path(folder), size) as stage:
        found, extra = asyncio.run(measure(stage, options.rounds))
    told(found, extra, options.orders)


def told(found: list[Verdict], extra: int, orders: int) -> None:
    """Print what was found; exit with what does not hold."""
    advised = [one for one in found if one.advice.indexes]
    figures = {
        "worst advice, time after / before": max(
            (one.after or 0.0) / one.before for one in advised
        ),
        "advice where none helps": float(sum(one.asked in LEFT_ALONE for one in advised)),
        "helped without advice": float(
            sum(one.asked in HELPED and not one.advice.indexes for one in found)
        ),
        "silences that an index would have bettered": float(
            sum((one.after or one.before) < one.before * HELPS for one in found
                if not one.advice.indexes)
        ),
        "milliseconds an advice, at most": max(one.asking for one in found) * 1000,
        "connections more than the application's": float(extra),
    }  # fmt: skip
    limits = budget.of("advice")
    wrong = budget.broken(figures, limits)
    columns = ["statement", "advised", "ms", "ms then", "after / before", "ms to advise"]
    report(f"Advice on {orders:,} orders, built and tried", columns, list(map(row, found)), {})
    result: dict[str, Any] = {
        "bench": "advice",
        "orders": orders,
        "advised": len(advised),
        "silent": len(found) - len(advised),
        "figures": {name: round(each, 4) for name, each in figures.items()},
        "promised": limits,
        "holds": not wrong,
    }
    rows = [[n, f"{each:.3g}", f"{limits.get(n, ''):g}"] for n, each in figures.items()]
    report("Promises", ["", "is", "at most"], rows, result)
    raise SystemExit("; ".join(wrong) or 0)


if __name__ == "__main__":
    main()
