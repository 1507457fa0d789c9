"""A small shop to send statements about: customers have orders, orders have items."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.ext import asyncio
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.util import greenlet_spawn

CUSTOMERS = 30


class _Loading:
    """Attributes of an object that are loaded when awaited."""

    def __init__(self, target: object) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        return greenlet_spawn(getattr, self._target, name)


class _AsyncAttrs:
    """``AsyncAttrs``, which is new in SQLAlchemy 2.0.13."""

    @property
    def awaitable_attrs(self) -> Any:
        return _Loading(self)


_Attrs: Any = getattr(asyncio, "AsyncAttrs", _AsyncAttrs)


class Base(_Attrs, DeclarativeBase):  # type: ignore[misc]  # whose class depends on the version
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    note: Mapped[str] = mapped_column(deferred=True)
    orders: Mapped[list["Order"]] = relationship(back_populates="customer")


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    customer: Mapped[Customer] = relationship(back_populates="orders")
    items: Mapped[list["Item"]] = relationship()


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    label: Mapped[str]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[AsyncEngine]:
    """An engine whose database holds the shop."""
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(engine) as session, session.begin():
            for number in range(1, CUSTOMERS + 1):
                orders = [
                    Order(id=number * 10 + i, items=[Item(label="a"), Item(label="b")])
                    for i in range(2)
                ]
                session.add(Customer(id=number, name=f"c{number}", note="n", orders=orders))
        yield engine
    finally:
        await engine.dispose()
