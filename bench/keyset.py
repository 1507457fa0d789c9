"""Cost of the 20,000th page against the first: ``python -m bench.keyset``.

Pages of products as the API reads them, by keyset and, for comparison, by OFFSET; in sort orders
with one direction and with mixed directions. By default a page has 10 rows, so that 200,000
products suffice; ``--products 1000000 --limit 50`` takes longer, with the same result.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from sqlalchemy import select

from bench import budget
from bench.databases import installed, postgresql
from bench.interleave import Once, report
from service.db.database import Database, connect
from service.pagination import Cursors, Sort
from service.products.repository import FOR_SALE, SORTS, ProductSort
from service.products.tables import Product
from service.sample_data.bulk_load import fill
from service.sample_data.generator import Shop
from service.settings import Settings

PAGE = 20_000
MEASURED = (ProductSort.NEWEST, ProductSort.PRICE, ProductSort.CATEGORY)
STATEMENT = select(Product).where(FOR_SALE)


async def seed(database: Database, products: int) -> None:
    """Fill a shop with products only."""
    shop = Shop(users=1, products=products, orders=1, seed=1, until=datetime.now(UTC))
    await fill(database, shop, ("", ""))


async def variants(database: Database, sort: Sort, limit: int) -> dict[str, Once]:
    """The first page, and a deep page by keyset and by OFFSET."""
    cursors = Cursors("only for this run")
    skipped = STATEMENT.order_by(*sort.order).offset((PAGE - 1) * limit)
    async with database.reading() as session:
        before = STATEMENT.order_by(*sort.order).offset((PAGE - 1) * limit - 1).limit(1)
        last = (await session.scalars(before)).one()
        expected = [row.id for row in await session.scalars(skipped.limit(limit))]
    deep = cursors.encode(sort.name, sort.values(last))

    async def by_keyset(cursor: str | None) -> list[Product]:
        async with database.reading() as session:
            rows = await cursors.page(
                session, STATEMENT, sort, listing=sort.name, limit=limit, cursor=cursor
            )
        return rows.items

    async def by_offset() -> list[Product]:
        async with database.reading() as session:
            return list(await session.scalars(skipped.limit(limit + 1)))

    if [row.id for row in await by_keyset(deep)] != expected:
        raise RuntimeError("keyset and OFFSET return different pages")
    return {
        "first": _once(lambda: by_keyset(None)),
        "first, again (noise)": _once(lambda: by_keyset(None)),
        "deep": _once(lambda: by_keyset(deep)),
        "by offset": _once(by_offset),
    }


async def best_times(variants: dict[str, Once], rounds: int) -> dict[str, float]:
    """Seconds of an undisturbed call: the 5th percentile, one call per round.

    A page takes less than a millisecond. On a busy machine a round of several calls always has one
    that waited for a processor; most single calls have not.
    """
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, once in variants.items():
            started = perf_counter()
            await once()
            taken[name].append(perf_counter() - started)
    return {name: sorted(each)[len(each) // 20] for name, each in taken.items()}


def _once(page: Callable[[], Awaitable[Any]]) -> Once:
    async def once() -> None:
        await page()

    return once


async def measure(url: str, options: argparse.Namespace, folder: Path) -> dict[str, dict[str, Any]]:
    """Seconds of each variant, by sort order."""
    settings = Settings(database_url=url, statement_timeout=3600, jwt_key_file=folder / "jwt-key")
    database = connect(settings)
    try:
        await seed(database, options.products)
        taken = {}
        for name in MEASURED:
            found = await variants(database, SORTS[name], options.limit)
            offset = {"by offset": found.pop("by offset")}
            taken[str(name)] = await best_times(found, options.rounds)
            taken[str(name)] |= await best_times(offset, 5)
        return taken
    finally:
        await database.close()


def main() -> None:
    """Measure and print; the exit code says whether the budget is met."""
    parser = argparse.ArgumentParser(prog="python -m bench.keyset", description=__doc__)
    parser.add_argument("--products", type=int, default=200_200, help="to page through (200,200)")
    parser.add_argument("--limit", type=int, default=10, help="rows of a page (10)")
    parser.add_argument("--rounds", type=int, default=300, help="rounds of each variant (300)")
    options = parser.parse_args()
    if options.products <= PAGE * options.limit:
        parser.error(f"page {PAGE:,} needs more than {PAGE * options.limit:,} products")
    taken = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if installed():
            with postgresql(shared_buffers="256MB") as server:
                taken["postgresql"] = asyncio.run(measure(server.database(), options, folder))
        url = f"sqlite+aiosqlite:///{folder}/keyset.db"
        taken["sqlite"] = asyncio.run(measure(url, options, folder))
    rows, ratios = [], {}
    for system, orders in taken.items():
        for order, seconds in orders.items():
            first = seconds["first"]
            ratios[f"{system}, {order}"] = seconds["deep"] / first
            rows += [
                [f"{system}, {order}: {variant}", f"{each * 1000:.2f}", f"{each / first:.2f}"]
                for variant, each in seconds.items()
            ]
    limits = budget.of("keyset")
    exceeded = budget.exceeded({f"page {PAGE} / page 1": max(ratios.values())}, limits)
    report(
        f"Page {PAGE:,} of {options.products:,} products, {options.limit} rows each",
        ["", "ms", "x page 1"],
        rows,
        {
            "bench": "keyset",
            "x": {name: round(each, 3) for name, each in ratios.items()},
            "budget": limits,
            "within_budget": not exceeded,
        },
    )
    raise SystemExit("; ".join(exceeded) or 0)


if __name__ == "__main__":
    main()
