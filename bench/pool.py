"""Sizes of the connection pool, and costs of pre-ping and transactions: ``python -m bench.pool``.

Sixty concurrent requests need a connection for a query of 5 ms. Then one query on a free
connection: with and without a ping, in a transaction and in autocommit. Needs PostgreSQL.
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

CONCURRENCY = 60
BUSY = text("SELECT pg_sleep(0.005)")
SHORT = text("SELECT 1")
DEFAULT = (5, 10)
"""SQLAlchemy's default."""
OURS = (Settings.model_fields["pool_size"].default, Settings.model_fields["pool_overflow"].default)
SIZES = tuple(dict.fromkeys(((5, 0), DEFAULT, (10, 0), (20, 0), (20, 10), (40, 0), OURS)))


@dataclass(frozen=True)
class PoolLoad:
    """Result of a pool under sixty concurrent requests.

    Attributes:
        rate: Queries per second.
        wait: 95th percentile of the wait for a connection, in milliseconds.
        connects: Connections opened after the warm-up.
    """

    rate: float
    wait: float
    connects: int


async def load_pool(engine: AsyncEngine, seconds: float) -> PoolLoad:
    """Run all requests for this long."""
    waits: list[float] = []
    connects = 0

    def connected(*_: object) -> None:
        nonlocal connects
        connects += 1

    async def visitor(until: float) -> None:
        while perf_counter() < until:
            requested = perf_counter()
            async with engine.connect() as connection:
                waits.append(perf_counter() - requested)
                await connection.execute(BUSY)

    await asyncio.gather(*(visitor(perf_counter() + 0.2) for _ in range(CONCURRENCY)))  # warms up
    waits.clear()
    event.listen(engine.sync_engine, "connect", connected)
    began = perf_counter()
    await asyncio.gather(*(visitor(began + seconds) for _ in range(CONCURRENCY)))
    taken = perf_counter() - began
    event.remove(engine.sync_engine, "connect", connected)
    return PoolLoad(len(waits) / taken, statistics.quantiles(waits, n=20)[-1] * 1000, connects)


async def load_pools(url: str, rounds: int, seconds: float) -> dict[tuple[int, int], PoolLoad]:
    """The median of the interleaved rounds, by size and overflow."""
    found: dict[tuple[int, int], list[PoolLoad]] = {size: [] for size in SIZES}
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
            found[size].append(await load_pool(engine, seconds))
            await engine.dispose()
    return {
        size: sorted(each, key=lambda one: one.rate)[len(each) // 2] for size, each in found.items()
    }


async def query_times(url: str, rounds: int) -> dict[str, float]:
    """Seconds of one short query by connection settings."""
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
        variants = {name: once(engine) for name, engine in engines.items()}
        return await compare(variants, rounds=rounds, calls=50)
    finally:
        for engine in engines.values():
            await engine.dispose()


def main() -> None:
    """Measure and print; the exit code says whether all budgets are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.pool", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each size (3)")
    parser.add_argument("--seconds", type=float, default=1.0, help="duration of a round (1)")
    options = parser.parse_args()
    if not installed():
        print("bench.pool needs PostgreSQL: run python -m stack install", file=sys.stderr)
        return
    with postgresql(max_connections="200") as server:
        url = server.database()
        found = asyncio.run(load_pools(url, options.rounds, options.seconds))
        each = asyncio.run(query_times(url, options.rounds * 10))
    plain = each["autocommit, no ping"]
    ratios = {
        "5 + 0 / ours, queries a second": found[5, 0].rate / found[OURS].rate,
        "5 + 10 / ours, queries a second": found[DEFAULT].rate / found[OURS].rate,
        "no ping / ping": plain / each["autocommit, ping"],
        "autocommit / transaction": plain / each["transaction, no ping"],
    }
    limits = budget.of("pool")
    exceeded = budget.exceeded(ratios, limits)
    rows = [
        [f"{size} + {overflow}", f"{one.rate:,.0f}", f"{one.wait:.1f}", str(one.connects)]
        for (size, overflow), one in found.items()
    ]
    columns = ["size + overflow", "queries/s", "p95 wait ms", "connects"]
    report(f"{CONCURRENCY} requests at once, 5 ms each", columns, rows, {"bench": "pool, sizes"})
    query_rows = [[name, f"{seconds * 1e6:.0f}", ""] for name, seconds in each.items()]
    query_rows += [[name, f"{r:.3f}", f"{limits[name]:g}"] for name, r in ratios.items()]
    result = {
        "bench": "pool",
        "rate": {f"{size[0]}+{size[1]}": round(one.rate) for size, one in found.items()},
        "wait_ms": {f"{size[0]}+{size[1]}": round(one.wait, 1) for size, one in found.items()},
        "us": {name: round(seconds * 1e6, 1) for name, seconds in each.items()},
        "ratios": {name: round(r, 3) for name, r in ratios.items()},
        "budget": limits,
        "within_budget": not exceeded,
    }
    report("A short query", ["", "µs, ratio", "at most"], query_rows, result)
    raise SystemExit("; ".join(exceeded) or 0)


if __name__ == "__main__":
    main()
