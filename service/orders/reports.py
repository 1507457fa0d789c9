"""What sold best: joined and summed by the database, and cached."""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.cache.codec import Rendered
from service.cache.report import Report
from service.cache.store import Cache
from service.database import Database, now
from service.orders.schemas import BestSeller, BestSellers
from service.orders.tables import Order, OrderItem, Status
from service.products.tables import Product

FRESH_SECONDS = 60
NEAR_SECONDS = 5
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


async def _best_sellers(session: AsyncSession, days: int, limit: int) -> list[BestSeller]:
    pieces = func.sum(OrderItem.quantity).label("pieces")
    # Summed and cut before the products join in: ten names are read, not one for every item.
    sold = (
        select(OrderItem.product_id, pieces, func.count().label("orders"))
        .join(Order, Order.id == OrderItem.order_id)
        .where(Order.created_at >= now() - timedelta(days=days), Order.status == Status.PLACED)
        .group_by(OrderItem.product_id)
        .order_by(pieces.desc(), OrderItem.product_id)
        .limit(limit)
        .subquery()
    )
    statement = (
        select(sold, Product.name, Product.category)
        .join(Product, Product.id == sold.c.product_id)
        .order_by(sold.c.pieces.desc(), sold.c.product_id)
    )
    return [BestSeller(**row) for row in (await session.execute(statement)).mappings()]


async def _of(request: Request) -> Reports:
    reports: Reports = request.app.state.reports
    return reports


ReportsOf = Annotated[Reports, Depends(_of)]
"""The reports of the app that answers the request."""
