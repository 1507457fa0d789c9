"""What sold best: joined and summed by the database, and cached.

How many pieces were sold may be a minute old, for every order changes that; what is shown of a
product, and that it is still for sale, is as it was committed last.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.cache.cache import Cache
from service.cache.core.codec import Rendered
from service.cache.core.metrics import Report
from service.cache.core.store import Mark
from service.cache_invalidation.pending_changes import Change
from service.db.database import Database, now
from service.orders.schemas import BestSeller, BestSellers
from service.orders.tables import Order, OrderItem, OrderStatus
from service.products.tables import Product

FRESH_SECONDS = 60
NEAR_SECONDS = 5
SHOWN = frozenset({"name", "category", "deleted_at"})
"""The columns of products that are shown, or decide whether they are."""
CACHING = "public, max-age=30, stale-while-revalidate=60"


class Reports:
    """Reads reports through the cache; a minute old is good enough for them."""

    def __init__(self, database: Database, cache: Cache, report: Callable[[str], Report]) -> None:
        self._database = database
        self._best_sellers = cache.namespace(
            "best_sellers",
            type=BestSellers,
            key="{days}:{limit}",
            ttl=FRESH_SECONDS,
            soft=FRESH_SECONDS * 3 / 4,  # the dearest query: nobody waits for it twice
            l1=NEAR_SECONDS,
            report=report("best_sellers"),
        )

    async def best_sellers(self, *, days: int, limit: int) -> Rendered | None:
        """The products of which most pieces were ordered in the last days: ``BestSellers``."""

        async def load() -> BestSellers:
            async with self._database.reading() as session:
                return BestSellers(days=days, items=await _best_sellers(session, days, limit))

        return await self._best_sellers.render(self._best_sellers.key(days=days, limit=limit), load)

    def touched(self, change: Change) -> Iterator[Mark]:
        """What a changed product makes old."""
        if change.writes(SHOWN):
            yield self._best_sellers.everything


async def _best_sellers(session: AsyncSession, days: int, limit: int) -> list[BestSeller]:
    pieces = func.sum(OrderItem.quantity).label("pieces")
    # Summed before the products join in: a row is read for each product sold, not for each item.
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
"""The reports of the app that answers the request."""
