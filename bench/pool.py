"""How many connections to hold, and what care for them costs: ``python -m bench.pool``.

Sixty requests at once want a connection for a query of 5 ms. Then one query on a free connection:
with and without a ping before it, in a transaction and without one. Needs PostgreSQL.
"""

import argparse
import asyncio
import statistics
import sys
from dataclasses import dataclass
from time import perf_counter

from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bench import budget
from bench.databases import installed, postgresql
from bench.interleave import Once, compare, report
from service.settings import Settings

AT_ONCE = 60
BUSY = text("SELECT pg_sleep(0.005)")
SHORT = text("SELECT 1")
DEFAULT = (5, 10)
"""SQLAlchemy's own choice."""
OURS = (Settings.model_fields["pool_size"].default, Settings.model_fields["pool_overflow"].default)
SIZES = tuple(dict.fromkeys(((5, 0), DEFAULT, (10, 0), (20, 0), (20, 10), (40, 0), OURS)))


@dataclass(frozen=True)
class Rush:
    """What a pool did for sixty requests at once.

    Attributes:
        rate: Queries a second.
        wait: Milliseconds that 95 of 100 waited for a connection, at most.
        connects: Connections made, beside the first ones.
    """

    rate: float
    wait: float
    connects: int


async def rush(engine: AsyncEngine, seconds: float) -> Rush:
    """Let them all come, for so long."""
    waits: list[float] = []
    connects = 0

    def connected(*_: object) -> None:
        nonlocal connects
        connects += 1

    async def visitor(until: float) -> None:
        while perf_counter() < until:
            asked = perf_counter()
            async with engine.connect() as connection:
                waits.append(perf_counter() - asked)
                await connection.execute(BUSY)

    await asyncio.gather(*(visitor(perf_counter() + 0.2) for _ in range(AT_ONCE)))  # warms up
    waits.clear()
    event.listen(engine.sync_engine, "connect", connected)
    began = perf_counter()
    await asyncio.gather(*(visitor(began + seconds) for _ in range(AT_ONCE)))
    taken = perf_counter() - began
    event.remove(engine.sync_engine, "connect", connected)
    return Rush(len(waits) / taken, statistics.quantiles(waits, n=20)[-1] * 1000, connects)


async def rushes(url: str, rounds: int, seconds: float) -> dict[tuple[int, int], Rush]:
    """The median of the rounds, by size and overflow; all take turns."""
    found: dict[tuple[int, int], list[Rush]] = {size: [] for size in SIZES}
    engines = {
        (size, overflow): create_async_engine(
            url,
            pool_size=size,
            max_overflow=overflow,
            pool_timeout=60,
            isolation_level="AUTOCOMMIT",
        )
        for size, overflow in SIZES
    }
    for number in range(rounds):
        for size, engine in engines.items():
            print(f"round {number + 1}: {size[0]} + {size[1]}", file=sys.stderr, flush=True)
            found[size].append(await rush(engine, seconds))
            await engine.dispose()
    return {
        size: sorted(each, key=lambda one: one.rate)[len(each) // 2] for size, each in found.items()
    }


async def care(url: str, rounds: int) -> dict[str, float]:
    """Seconds of one short query by ways to hold a connection."""
    engines = {
        "autocommit, no ping": create_async_engine(url, isolation_level="AUTOCOMMIT"),
        "autocommit, ping": create_async_engine(
            url, isolation_level="AUTOCOMMIT", pool_pre_ping=True
        ),
        "transaction, no ping": create_async_engine(url),
    }

    def once(engine: AsyncEngine) -> Once:
        async def ask() -> None:
            async with engine.connect() as connection:
                await connection.execute(SHORT)

        return ask

    try:
        ways = {name: once(engine) for name, engine in engines.items()}
        return await compare(ways, rounds=rounds, calls=50)
    finally:
        for engine in engines.values():
            await engine.dispose()


def main() -> None:
    """Measure, print, and say in the exit code whether the promises hold."""
    parser = argparse.ArgumentParser(prog="python -m bench.pool", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each size (3)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn (1)")
    options = parser.parse_args()
    if not installed():
        print("bench.pool needs PostgreSQL: python -m stack install", file=sys.stderr)
        return
    with postgresql(max_connections="200") as server:
        url = server.database()
        found = asyncio.run(rushes(url, options.rounds, options.seconds))
        each = asyncio.run(care(url, options.rounds * 10))
    plain = each["autocommit, no ping"]
    ratios = {
        "5 + 0 / ours, queries a second": found[5, 0].rate / found[OURS].rate,
        "5 + 10 / ours, queries a second": found[DEFAULT].rate / found[OURS].rate,
        "no ping / ping": plain / each["autocommit, ping"],
        "autocommit / transaction": plain / each["transaction, no ping"],
    }
    limits = budget.of("pool")
    wrong = budget.broken(ratios, limits)
    rows = [
        [f"{size} + {overflow}", f"{one.rate:,.0f}", f"{one.wait:.1f}", str(one.connects)]
        for (size, overflow), one in found.items()
    ]
    columns = ["size + overflow", "queries/s", "p95 wait ms", "connects"]
    report(f"{AT_ONCE} requests at once, 5 ms each", columns, rows, {"bench": "pool, sizes"})
    care_rows = [[name, f"{seconds * 1e6:.0f}", ""] for name, seconds in each.items()]
    care_rows += [[name, f"{r:.3f}", f"{limits[name]:g}"] for name, r in ratios.items()]
    result = {
        "bench": "pool",
        "rate": {f"{size[0]}+{size[1]}": round(one.rate) for size, one in found.items()},
        "wait_ms": {f"{size[0]}+{size[1]}": round(one.wait, 1) for size, one in found.items()},
        "us": {name: round(seconds * 1e6, 1) for name, seconds in each.items()},
        "ratios": {name: round(r, 3) for name, r in ratios.items()},
        "promised": limits,
        "holds": not wrong,
    }
    report("A short query", ["", "µs, ratio", "at most"], care_rows, result)
    raise SystemExit("; ".join(wrong) or 0)


if __name__ == "__main__":
    main()
