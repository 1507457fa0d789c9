"""Table of products."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from service.db.database import Base, Id, now

_FOR_SALE = text("deleted_at IS NULL")


def _listing(name: str, *columns: Any) -> Index:
    """Return a partial index for one sort order of the product list, without deleted products."""
    return Index(name, *columns, postgresql_where=_FOR_SALE, sqlite_where=_FOR_SALE)


class Product(Base):
    """A product; a deleted one stays, because orders refer to it.

    ``id`` breaks ties in every sort order. ``version`` grows with every change of the row, orders
    included.
    """

    __tablename__ = "products"
    __table_args__ = (
        CheckConstraint("price_cents >= 0", name="price"),
        CheckConstraint("stock >= 0", name="stock"),
        _listing("ix_products_price", "price_cents", "id"),
        _listing("ix_products_name", "name", "id"),
        _listing("ix_products_newest", "created_at", "id"),
        _listing("ix_products_category_price", "category", "price_cents", "id"),
        _listing("ix_products_category_name", "category", "name", "id"),
    )

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(String(2000), default="")
    category: Mapped[str] = mapped_column(String(60))
    price_cents: Mapped[int] = mapped_column(BigInteger)
    stock: Mapped[int]
    version: Mapped[int] = mapped_column(default=1, server_default="1")
    created_at: Mapped[datetime] = mapped_column(default=now)
    deleted_at: Mapped[datetime | None]


# For one category's newest, and all products by category, where the directions differ.
_listing(
    "ix_products_category_newest", Product.category, Product.created_at.desc(), Product.id.desc()
)
