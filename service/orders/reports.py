"""Best-seller report: aggregated by the database, and cached.

Quantities may be a minute old, because every order changes them; product data, and whether a
product is still for sale, are as last committed.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.db.database import Database, now
from service.orders.schemas import BestSeller, BestSellers
from service.orders.tables import Order, OrderItem, OrderStatus
from service.products.tables import Product
from vitals.cache import Cache, Change, InvalidationTarget, Rendered

FRESH_SECONDS = 60
L1_SECONDS = 5
SHOWN = frozenset({"name", "category", "deleted_at"})
"""The columns of products that the report shows or filters by."""
CACHING = "public, max-age=30, stale-while-revalidate=60"


class Reports:
    """Reads reports through the cache; they may be a minute old."""

    def __init__(self, database: Database, cache: Cache) -> None:
        self._database = database
        self._best_sellers = cache.namespace(
            "best_sellers",
            schema=BestSellers,
            key="{days}:{limit}",
            ttl=FRESH_SECONDS,
            soft_ttl=FRESH_SECONDS * 3 / 4,  # the slowest query: refreshed early
            l1_ttl=L1_SECONDS,
        )

    async def best_sellers(self, *, days: int, limit: int) -> Rendered | None:
        """Return the products of which most pieces were ordered recently: ``BestSellers``."""

        async def load() -> BestSellers:
            async with self._database.reading() as session:
                return BestSellers(days=days, items=await _best_sellers(session, days, limit))

        return await self._best_sellers.render(self._best_sellers.key(days=days, limit=limit), load)

    def invalidated_by(self, change: Change) -> Iterator[InvalidationTarget]:
        """Yield what a changed product invalidates."""
        if change.writes(SHOWN):
            yield self._best_sellers.everything


async def _best_sellers(session: AsyncSession, days: int, limit: int) -> list[BestSeller]:
    pieces = func.sum(OrderItem.quantity).label("pieces")
    # Aggregated before the join: one product row is read per product sold, not per item.
    sold = (
        select(OrderItem.product_id, pieces, func.count().label("orders"))
        .join(Order, Order.id == OrderItem.order_id)
        .where(Order.created_at >= now() - timedelta(days=days), Order.status == OrderStatus.PLACED)
        .group_by(OrderItem.product_id)
        .subquery()
    )
    statement = (
        select(sold, Product.name, Product.category)
        .join(Product, Product.id == sold.c.product_id)
        .where(Product.deleted_at.is_(None))
        .order_by(sold.c.pieces.desc(), sold.c.product_id)
        .limit(limit)
    )
    return [BestSeller(**row) for row in (await session.execute(statement)).mappings()]


async def _of(request: Request) -> Reports:
    reports: Reports = request.app.state.reports
    return reports


ReportsOf = Annotated[Reports, Depends(_of)]
"""The reports of the app that handles the request."""
