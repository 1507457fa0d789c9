"""Naive versions of the endpoints, with faults that are common in real services.

OFFSET pagination with a total count, whole rows, N+1 queries, columns wrapped in a function or a
cast, correlated subqueries, work of the database done in Python. They return the same content as
ours, from the same models and tables.
"""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request
from sqlalchemy import Select, String, cast, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bench.load.optimisations import disable_caches
from service.auth import AdminOf, CallerOf
from service.db.database import DatabaseOf, now
from service.errors import NotFoundError, UnauthorizedError
from service.main import build
from service.orders.schemas import BestSeller, OrderIn, OrderOut
from service.orders.tables import Order, OrderItem, OrderStatus
from service.products.schemas import ProductOut, ProductSummary
from service.products.tables import Product
from service.settings import Settings
from service.users.passwords import PasswordsOf
from service.users.schemas import Login, Token, UserOut
from service.users.tables import User

router = APIRouter(prefix="/api")
PageNumber = Annotated[int, Query(ge=1)]
FOR_SALE = Product.deleted_at.is_(None)


def app(settings: Settings) -> FastAPI:
    """Our API with these endpoints in front of its own, and without caches."""
    made = build(settings)
    disable_caches(made)
    made.router.routes[:0] = router.routes
    return made


async def numbered(session: AsyncSession, statement: Select[Any], page: int) -> dict[str, Any]:
    """A page by number, with the total count."""
    total = await session.scalar(select(func.count()).select_from(statement.subquery()))
    rows = (await session.scalars(statement.offset((page - 1) * 20).limit(20))).all()
    return {"items": rows, "total": total}


@router.get("/products")
async def list_products(
    database: DatabaseOf, page: PageNumber = 1, category: str | None = None
) -> dict[str, Any]:
    """Cheapest first, by page number."""
    statement = select(Product).where(FOR_SALE).order_by(Product.price_cents, Product.id)
    if category is not None:
        statement = statement.where(func.lower(Product.category) == category.lower())
    async with database.reading() as session:
        found = await numbered(session, statement, page)
    return found | {"items": [ProductSummary.model_validate(row) for row in found["items"]]}


@router.get("/products/{product_id}")
async def show_product(product_id: str, database: DatabaseOf) -> ProductOut:
    """By the id as text, cast in the query."""
    statement = select(Product).where(cast(Product.id, String) == product_id, FOR_SALE)
    async with database.reading() as session:
        return ProductOut.model_validate(await session.scalar(statement))


@router.get("/categories")
async def list_categories(database: DatabaseOf) -> dict[str, Any]:
    """The categories of all products, collected in Python."""
    async with database.reading() as session:
        products = await session.scalars(select(Product).where(FOR_SALE))
        return {"items": sorted({product.category for product in products})}


@router.get("/orders")
async def list_orders(
    caller: CallerOf, database: DatabaseOf, page: PageNumber = 1
) -> dict[str, Any]:
    """The caller's orders, newest first, with a query for the items of each."""
    statement = select(Order).where(Order.user_id == caller.id)
    statement = statement.order_by(Order.created_at.desc(), Order.id.desc())
    async with database.reading() as session:
        found = await numbered(session, statement, page)
        return found | {"items": [await _with_items(session, order) for order in found["items"]]}


@router.get("/orders/{order_id}")
async def show_order(order_id: int, caller: CallerOf, database: DatabaseOf) -> OrderOut:
    """One order, found among all orders of the caller."""
    async with database.reading() as session:
        orders = (await session.scalars(select(Order).where(Order.user_id == caller.id))).all()
        for order in orders:
            if order.id == order_id:
                return await _with_items(session, order)
    raise NotFoundError(f"There is no order {order_id}.")


@router.post("/orders", status_code=201)
async def place_order(order: OrderIn, caller: CallerOf, database: DatabaseOf) -> OrderOut:
    """One product at a time."""
    async with database.writing() as session:
        made = Order(user_id=caller.id, status=OrderStatus.PLACED, total_cents=0)
        session.add(made)
        await session.flush()
        for item in order.items:
            product = await session.get_one(Product, item.product_id, with_for_update=True)
            await _restock(session, product.id, -item.quantity)
            made.total_cents += item.quantity * product.price_cents
            row = {"order_id": made.id, "product_id": product.id, "quantity": item.quantity}
            await session.execute(insert(OrderItem).values(**row, price_cents=product.price_cents))
        return await _with_items(session, made)


@router.post("/orders/{order_id}/cancel")
async def cancel_order(order_id: int, caller: CallerOf, database: DatabaseOf) -> OrderOut:
    """One product at a time."""
    async with database.writing() as session:
        order = await session.get_one(Order, order_id, with_for_update=True)
        if order.user_id != caller.id:
            raise NotFoundError(f"There is no order {order_id}.")
        of_order = select(OrderItem).where(OrderItem.order_id == order_id)
        for item in (await session.scalars(of_order)).all():
            await _restock(session, item.product_id, item.quantity)
        order.status, order.cancelled_at = OrderStatus.CANCELLED, now()
        await session.flush()
        return await _with_items(session, order)


@router.get("/reports/best-sellers")
async def show_best_sellers(
    database: DatabaseOf, days: int = 30, limit: int = 10
) -> dict[str, Any]:
    """Correlated subqueries for each product."""
    sold = (
        select(func.sum(OrderItem.quantity).label("pieces"), func.count().label("orders"))
        .join(Order, Order.id == OrderItem.order_id)
        .where(OrderItem.product_id == Product.id, Order.status == OrderStatus.PLACED)
        .where(func.date(Order.created_at) >= func.date(now() - timedelta(days=days)))
    )
    pieces = sold.with_only_columns(sold.selected_columns.pieces).scalar_subquery()
    orders = sold.with_only_columns(sold.selected_columns.orders).scalar_subquery()
    statement = (
        select(Product, pieces.label("pieces"), orders.label("orders"))
        .order_by(pieces.desc().nulls_last(), Product.id)
        .limit(limit)
    )
    async with database.reading() as session:
        rows = (await session.execute(statement)).all()
    items = [
        BestSeller(
            product_id=row.Product.id,
            name=row.Product.name,
            category=row.Product.category,
            pieces=row.pieces,
            orders=row.orders,
        )
        for row in rows
    ]
    return {"days": days, "items": items}


@router.get("/users")
async def list_users(_admin: AdminOf, database: DatabaseOf, page: PageNumber = 1) -> dict[str, Any]:
    """Newest first, by page number."""
    async with database.reading() as session:
        found = await numbered(session, select(User).order_by(User.id.desc()), page)
    return found | {"items": [UserOut.model_validate(row) for row in found["items"]]}


@router.post("/users/login")
async def log_in(
    login: Login, request: Request, database: DatabaseOf, passwords: PasswordsOf
) -> Token:
    """Case-insensitive e-mail address."""
    async with database.reading() as session:
        user = await session.scalar(select(User).where(func.lower(User.email) == login.email))
    if user is None or not (await passwords.check(login.password, user.password_hash)).matches:
        raise UnauthorizedError
    tokens = request.app.state.tokens
    return Token(access_token=tokens.issue(user), expires_in=tokens.lifetime)


async def _with_items(session: AsyncSession, order: Order) -> OrderOut:
    of_order = select(OrderItem).where(OrderItem.order_id == order.id)
    items = await session.scalars(of_order.order_by(OrderItem.product_id))
    fields = {name: getattr(order, name) for name in OrderOut.model_fields if name != "items"}
    return OrderOut.model_validate(fields | {"items": list(items)})


async def _restock(session: AsyncSession, product_id: int, pieces: int) -> None:
    more = {"stock": Product.stock + pieces, "version": Product.version + 1}
    await session.execute(update(Product).where(Product.id == product_id).values(more))
