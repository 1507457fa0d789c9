"""Each optimisation, before and after, interleaved in one process: only ratios are comparable."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from sqlalchemy import Select, select, text, tuple_
from sqlalchemy.orm import selectinload

from bench.asgi_client import Reply, ask, discard_logs
from bench.interleave import Once, compare
from bench.load import compression
from bench.load.server import PRODUCTS
from service.db.database import Database
from service.main import build
from service.orders.reports import Reports
from service.orders.tables import Order, OrderItem
from service.products.catalogue import Catalogue
from service.products.tables import Product
from service.settings import Settings
from vitals.cache.cache import Cache
from vitals.cache.core.memory_store import MemoryStore
from vitals.cache.core.store import CachedValue, EntryRef, FillLease, Lookup, TimeoutBudget

Ratios = dict[str, float]
PAIRS = {
    "list, cached": "list, no cache",
    "best sellers, cached": "best sellers, no cache",
    "list, 304": "list, cached",
    "page by keyset": "page by offset",
    "filter by index": "filter without index",
    "orders with items, joined": "orders with items, one by one",
}
"""Each optimised variant, and the one before."""


class NoStore(MemoryStore):
    """A cache store that stores nothing."""

    async def fill(
        self, lease: FillLease, value: CachedValue, ttl: float, _budget: TimeoutBudget
    ) -> bool:
        """Store nothing."""
        del lease, value, ttl
        return True

    async def read(self, ref: EntryRef) -> Lookup:
        """Return a miss."""
        del ref
        return Lookup(b"")


def measure(settings: Settings, rounds: int) -> tuple[dict[str, float], Ratios]:
    """Measure all optimisations.

    Returns:
        Seconds by variant, and after/before by optimisation.
    """
    app, without = build(settings), build(settings)
    with discard_logs():
        return asyncio.run(_measure(app, without, rounds))


async def _measure(app: FastAPI, without: FastAPI, rounds: int) -> tuple[dict[str, float], Ratios]:
    async with LifespanManager(app), LifespanManager(without):
        disable_caches(without)
        variants, answers = await _requests(app, without)
        seconds = await compare(variants, rounds=rounds, calls=10)
        database: Database = app.state.database
        await _copy_without_indexes(database)
        seconds |= await compare(_queries(database), rounds=rounds, calls=3)
        ratios = await compression.measure(await _fifty_kilobytes(database), rounds)
    pairs = {after: seconds[after] / seconds[before] for after, before in PAIRS.items()}
    wire = len(answers["list, compressed"]) / len(answers["list, cached"])
    return seconds, pairs | {"list, bytes when compressed": wire} | ratios


# -- Requests --------------------------------------------------------------------------------


def disable_caches(app: FastAPI) -> None:
    """Disable the caches of an application, so that each request queries the database."""
    state, cache = app.state, Cache(store=NoStore())
    state.catalogue = Catalogue(state.database, state.cursors, cache)
    state.reports = Reports(state.database, cache)


async def _requests(app: FastAPI, without: FastAPI) -> tuple[dict[str, Once], dict[str, bytes]]:
    path, best, query = "/api/products", "/api/reports/best-sellers", b"limit=100"
    tag = (await ask(app, path, query))[1][b"etag"]
    accepts, known = (b"accept-encoding", b"zstd"), (b"if-none-match", tag)
    statement: dict[str, Callable[[], Awaitable[Reply]]] = {
        "list, no cache": lambda: ask(without, path, query),
        "list, cached": lambda: ask(app, path, query),
        "list, compressed": lambda: ask(app, path, query, accepts),
        "list, 304": lambda: ask(app, path, query, known),
        "best sellers, no cache": lambda: ask(without, best),
        "best sellers, cached": lambda: ask(app, best),
    }
    answers = {}
    for name, call in statement.items():
        status, _, answers[name] = await call()
        if status != (304 if name.endswith("304") else 200):
            raise RuntimeError(f"{name} returned {status}")

    def once(call: Callable[[], Awaitable[object]]) -> Once:
        async def go() -> None:
            await call()

        return go

    return {name: once(call) for name, call in statement.items()}, answers


# -- Queries ---------------------------------------------------------------------------------


async def _copy_without_indexes(database: Database) -> None:
    async with database.writing() as session:
        await session.execute(text("DROP TABLE IF EXISTS products_without_index"))
        await session.execute(text("CREATE TABLE products_without_index AS SELECT * FROM products"))


def _queries(database: Database) -> dict[str, Once]:
    cheapest = select(Product.id, Product.price_cents).where(Product.deleted_at.is_(None))
    cheapest = cheapest.order_by(Product.price_cents, Product.id).limit(20)
    deep = PRODUCTS * 9 // 10
    filtered = (
        "SELECT id, name, price_cents FROM {table} WHERE deleted_at IS NULL "
        "AND category = 'office' ORDER BY price_cents, id LIMIT 20"
    )

    def once(statement: Any) -> Once:
        async def go() -> None:
            async with database.reading() as session:
                (await session.execute(statement)).all()

        return go

    ref: list[tuple[int, int]] = []

    async def by_keyset() -> None:
        async with database.reading() as session:
            if not ref:
                row = (await session.execute(cheapest.offset(deep).limit(1))).one()
                ref.append((row.price_cents, row.id))
            after = tuple_(Product.price_cents, Product.id) > ref[0]
            (await session.execute(cheapest.where(after))).all()

    return {
        "page by offset": once(cheapest.offset(deep)),
        "page by keyset": by_keyset,
        "filter without index": once(text(filtered.format(table="products_without_index"))),
        "filter by index": once(text(filtered.format(table="products"))),
        "orders with items, one by one": lambda: _one_by_one(database),
        "orders with items, joined": lambda: _joined(database),
    }


def _newest() -> Select[Order]:
    return select(Order).order_by(Order.created_at.desc(), Order.id.desc()).limit(20)


async def _joined(database: Database) -> None:
    async with database.reading() as session:
        (await session.scalars(_newest().options(selectinload(Order.items)))).all()


async def _one_by_one(database: Database) -> None:
    async with database.reading() as session:
        for order in (await session.scalars(_newest())).all():
            of_order = select(OrderItem).where(OrderItem.order_id == order.id)
            (await session.scalars(of_order)).all()


# -- Compression -----------------------------------------------------------------------------


async def _fifty_kilobytes(database: Database) -> bytes:
    async with database.reading() as session:
        products = (await session.execute(select(*Product.__table__.columns).limit(400))).mappings()
    return json.dumps([dict(product) for product in products], default=str).encode()[:50_000]
