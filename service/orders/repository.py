"""Database access of orders: idempotent placing and cancelling, without overselling.

Every transaction takes its locks in one order: first the user (to place) or the order (to
cancel), then the products by id. So there are no deadlocks. SQLite has no row locks and needs
none: it has one write transaction at a time.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from sqlalchemy import Select, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from service.db.database import now
from service.errors import ConflictError, FieldError, InvalidError, NotFoundError, UnauthorizedError
from service.orders.tables import Order, OrderItem, OrderStatus
from service.pagination import Cursors, Rows, Sort, descending, listing_id
from service.products.tables import Product
from service.users.tables import User

NEWEST = Sort("newest", descending(Order.created_at, Order.id))


class NotAvailableError(ConflictError):
    """Some products are not available in this quantity: see `errors`."""

    slug, title = "not-available", "Not available"


class KeyReusedError(InvalidError):
    """This idempotency key belongs to another order: make a new key for a new order."""

    slug, title = "idempotency-key-reused", "Idempotency key reused"

    def __init__(self) -> None:
        super().__init__("", FieldError("was used with another body", header="Idempotency-Key"))


@dataclass(frozen=True)
class Wanted:
    """A requested order.

    Attributes:
        lines: Product id and quantity, as sent; several lines may have the same product.
        key: The idempotency key.
    """

    lines: Sequence[tuple[int, int]]
    key: str | None = None

    @cached_property
    def pieces(self) -> dict[int, int]:
        """Total quantity by product."""
        total: dict[int, int] = {}
        for product_id, quantity in self.lines:
            total[product_id] = total.get(product_id, 0) + quantity
        return total

    @property
    def digest(self) -> str:
        """Digest of the products and quantities."""
        return sha256(json.dumps(sorted(self.pieces.items())).encode()).hexdigest()

    def field_errors(self, products: Mapping[int, Product]) -> list[FieldError]:
        """Return the unavailable lines, as errors."""
        field_errors = []
        for index, (product_id, _) in enumerate(self.lines):
            product = products.get(product_id)
            if product is None or product.deleted_at is not None:
                detail = f"there is no product {product_id}"
                field_errors.append(FieldError(detail, pointer=f"/items/{index}/product_id"))
            elif product.stock < self.pieces[product_id]:
                detail = f"only {product.stock} of product {product_id} left"
                field_errors.append(FieldError(detail, pointer=f"/items/{index}/quantity"))
        return field_errors


@dataclass(frozen=True)
class Placed:
    """An order, and whether it was placed before with the same key (a replay)."""

    order: Order
    replayed: bool


async def place_order(session: AsyncSession, user_id: int, wanted: Wanted) -> Placed:
    """Take the stock and insert the order, atomically.

    Raises:
        NotAvailableError: A product is deleted or out of stock; nothing was taken.
        KeyReusedError: The key belongs to an order of other products.
    """
    await _lock_user(session, user_id)
    if wanted.key is not None:
        earlier = await _by_key(session, user_id, wanted.key)
        if earlier is not None:
            if earlier.request_hash != wanted.digest:
                raise KeyReusedError
            return Placed(earlier, replayed=True)
    products = await _take_stock(session, wanted)
    items = [
        OrderItem(product_id=p.id, quantity=wanted.pieces[p.id], price_cents=p.price_cents)
        for p in products
    ]
    order = Order(
        user_id=user_id,
        status=OrderStatus.PLACED,
        total_cents=sum(item.quantity * item.price_cents for item in items),
        idempotency_key=wanted.key,
        request_hash=wanted.digest if wanted.key is not None else None,
        items=items,
    )
    session.add(order)
    await session.flush()
    return Placed(order, replayed=False)


async def cancel(session: AsyncSession, user_id: int, order_id: int) -> Order:
    """Cancel an order and return its stock. Idempotent.

    Raises:
        NotFoundError: The user has no such order.
    """
    statement = _with_items().where(Order.id == order_id, Order.user_id == user_id)
    order = await session.scalar(statement.with_for_update())
    if order is None:
        raise missing(order_id)
    if order.status == OrderStatus.PLACED:
        await _return_stock(session, order)
        order.status = OrderStatus.CANCELLED
        order.cancelled_at = now()
    return order


async def find(session: AsyncSession, order_id: int, *, user_id: int | None) -> Order:
    """Return the order with this id, of this user or, if ``user_id`` is None, of any.

    Raises:
        NotFoundError: There is none, or it belongs to another user.
    """
    statement = _with_items().where(Order.id == order_id)
    if user_id is not None:
        statement = statement.where(Order.user_id == user_id)
    order: Order | None = await session.scalar(statement)
    if order is None:
        raise missing(order_id)
    return order


async def page(
    session: AsyncSession, cursors: Cursors, user_id: int, *, limit: int, cursor: str | None
) -> Rows[Order]:
    """Return a page of a user's orders, newest first.

    Raises:
        BadCursorError: The cursor belongs to another list.
    """
    where = listing_id("orders", NEWEST, {"user": user_id})
    statement = _with_items().where(Order.user_id == user_id)
    return await cursors.page(session, statement, NEWEST, listing=where, limit=limit, cursor=cursor)


def missing(order_id: int) -> NotFoundError:
    """Return the same error for an order that does not exist or that the caller may not see."""
    return NotFoundError(f"There is no order {order_id}.")


def _with_items() -> Select[Order]:
    return select(Order).options(selectinload(Order.items))


async def _lock_user(session: AsyncSession, user_id: int) -> None:
    # Serialises one user's orders: of two concurrent requests with the same key, the second finds
    # the order of the first.
    statement = select(User.id).where(User.id == user_id, User.active)
    if await session.scalar(statement.with_for_update(key_share=True)) is None:
        raise UnauthorizedError


async def _by_key(session: AsyncSession, user_id: int, key: str) -> Order | None:
    statement = _with_items().where(Order.user_id == user_id, Order.idempotency_key == key)
    order: Order | None = await session.scalar(statement)
    return order


async def _take_stock(session: AsyncSession, wanted: Wanted) -> list[Product]:
    products = await _locked(session, wanted.pieces)
    if field_errors := wanted.field_errors(products):
        raise NotAvailableError("", *field_errors)
    await _change_stock(session, products, {id_: -count for id_, count in wanted.pieces.items()})
    return list(products.values())


async def _return_stock(session: AsyncSession, order: Order) -> None:
    pieces = {item.product_id: item.quantity for item in order.items}
    products = await _locked(session, pieces)
    await _change_stock(session, products, pieces)


async def _locked(session: AsyncSession, product_ids: Iterable[int]) -> dict[int, Product]:
    statement = select(Product).where(Product.id.in_(product_ids)).order_by(Product.id)
    products = await session.scalars(statement.with_for_update(key_share=True))
    return {product.id: product for product in products}


async def _change_stock(
    session: AsyncSession, products: Mapping[int, Product], pieces: Mapping[int, int]
) -> None:
    rows = [
        {"id": p.id, "stock": p.stock + pieces[p.id], "version": p.version + 1}
        for p in products.values()
    ]
    await session.execute(update(Product), rows)  # one batch for any number of products
