"""Tables of orders and their items."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from service.db.database import Base, Id, now


class OrderStatus(StrEnum):
    """Status of an order."""

    PLACED = "placed"
    CANCELLED = "cancelled"


class Order(Base):
    """A purchase of one user.

    ``idempotency_key`` is unique per user, and ``request_hash`` (SHA-256, hex) identifies the
    request's content: a repeated request finds its order.
    """

    __tablename__ = "orders"
    __table_args__ = (
        CheckConstraint("status IN ('placed', 'cancelled')", name="status"),
        UniqueConstraint("user_id", "idempotency_key"),
        Index("ix_orders_user_newest", "user_id", "created_at", "id"),
        Index("ix_orders_newest", "created_at", "id"),
    )

    id: Mapped[Id]
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id"))
    status: Mapped[str] = mapped_column(String(16), default=OrderStatus.PLACED)
    total_cents: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(default=now)
    cancelled_at: Mapped[datetime | None]
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    request_hash: Mapped[str | None] = mapped_column(String(64))
    items: Mapped[list["OrderItem"]] = relationship(
        order_by="OrderItem.product_id", lazy="raise", cascade="all, delete-orphan"
    )


class OrderItem(Base):
    """A product in an order; ``price_cents`` is for one piece, at the time of the order."""

    __tablename__ = "order_items"
    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity"),
        Index("ix_order_items_product", "product_id", "order_id"),
    )

    order_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("orders.id", ondelete="CASCADE"), primary_key=True
    )
    product_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("products.id"), primary_key=True)
    quantity: Mapped[int]
    price_cents: Mapped[int] = mapped_column(BigInteger)
