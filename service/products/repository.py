"""Database access of products, without deleted ones."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.conditional_requests import Precondition
from service.db.database import now
from service.errors import NotFoundError
from service.pagination import Cursors, Rows, Sort, ascending, descending, listing_id
from service.products.tables import Product

FOR_SALE = Product.deleted_at.is_(None)


class ProductSort(StrEnum):
    """Sort order of a product list."""

    NEWEST = "newest"
    NAME = "name"
    PRICE = "price"
    PRICE_DOWN = "-price"
    CATEGORY = "category"  # in each, newest first


SORTS = {
    ProductSort.NEWEST: Sort("newest", descending(Product.created_at, Product.id)),
    ProductSort.NAME: Sort("name", ascending(Product.name, Product.id)),
    ProductSort.PRICE: Sort("price", ascending(Product.price_cents, Product.id)),
    ProductSort.PRICE_DOWN: Sort("-price", descending(Product.price_cents, Product.id)),
    ProductSort.CATEGORY: Sort(
        "category", ascending(Product.category), descending(Product.created_at, Product.id)
    ),
}


@dataclass(frozen=True)
class Listing:
    """Filters and sort order of a product list; equal listings have equal pages."""

    sort: ProductSort = ProductSort.NEWEST
    category: str | None = None
    text: str | None = None
    least_cents: int | None = None
    most_cents: int | None = None

    @property
    def id(self) -> str:
        """Id of this listing in cursors and cache keys."""
        return listing_id("products", SORTS[self.sort], asdict(self))

    def statement(self) -> Select[Product]:
        """Return the query for all pages."""
        statement = select(Product).where(FOR_SALE)
        if self.category is not None:
            statement = statement.where(Product.category == self.category)
        if self.text is not None:
            statement = statement.where(Product.name.icontains(self.text, autoescape=True))
        if self.least_cents is not None:
            statement = statement.where(Product.price_cents >= self.least_cents)
        if self.most_cents is not None:
            statement = statement.where(Product.price_cents <= self.most_cents)
        return statement


async def page(
    session: AsyncSession, cursors: Cursors, listing: Listing, *, limit: int, cursor: str | None
) -> Rows[Product]:
    """Return one page of a listing.

    Raises:
        BadCursorError: The cursor belongs to another listing.
    """
    return await cursors.page(
        session,
        listing.statement(),
        SORTS[listing.sort],
        listing=listing.id,
        limit=limit,
        cursor=cursor,
    )


async def find(session: AsyncSession, product_id: int) -> Product | None:
    """Return the product with this id."""
    statement = select(Product).where(Product.id == product_id, FOR_SALE)
    product: Product | None = await session.scalar(statement)
    return product


async def categories(session: AsyncSession) -> list[str]:
    """Return the categories that have a product, sorted."""
    statement = select(Product.category).where(FOR_SALE).distinct().order_by(Product.category)
    return list(await session.scalars(statement))


async def change(
    session: AsyncSession, product_id: int, precondition: Precondition, values: Mapping[str, Any]
) -> Product:
    """Update the given columns of a product.

    Raises:
        NotFoundError: There is no such product.
        PreconditionFailedError: It is not of an expected version.
    """
    statement = select(Product).where(Product.id == product_id, FOR_SALE)
    # Locked against writes between the check and the update.
    product: Product | None = await session.scalar(statement.with_for_update(key_share=True))
    if product is None:
        raise missing(product_id)
    precondition.check(product.version)
    for column, value in values.items():
        setattr(product, column, value)
    product.version += 1
    return product


async def delete(session: AsyncSession, product_id: int, precondition: Precondition) -> None:
    """Soft-delete a product; orders keep referring to it.

    Raises:
        NotFoundError: There is no such product.
        PreconditionFailedError: It is not of an expected version.
    """
    await change(session, product_id, precondition, {"deleted_at": now()})


def missing(product_id: int) -> NotFoundError:
    """Return the error for a product that does not exist or is deleted."""
    return NotFoundError(f"There is no product {product_id}.")
