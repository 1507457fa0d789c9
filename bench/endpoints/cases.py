"""The compared cases: a request to a naive endpoint, and the equivalent one to ours."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from sqlalchemy import Select, func, select

from bench.asgi_client import Header, Reply, ask
from bench.endpoints.fixtures import PASSWORD, Size
from service.auth import AccessTokens
from service.db.database import Database
from service.orders.tables import Order
from service.pagination import Cursors, Sort, listing_id
from service.products.repository import SORTS, Listing, ProductSort
from service.products.tables import Product
from service.users.repository import NEWEST
from service.users.tables import Role, User

PAGE = 20


class ResponseError(Exception):
    """An endpoint returned an error."""


@dataclass(frozen=True)
class Client:
    """A client of one of the two applications."""

    app: FastAPI
    headers: tuple[Header, ...] = ()

    async def get(self, path: str, query: str = "") -> Reply:
        """Send a GET."""
        return _content(path, await ask(self.app, path, query.encode(), *self.headers))

    async def post(self, path: str, body: Any = None) -> Reply:
        """Send a POST with JSON."""
        written = b"" if body is None else json.dumps(body).encode()
        headers = (*self.headers, (b"content-type", b"application/json"))
        headers += ((b"content-length", str(len(written)).encode()),)
        return _content(path, await ask(self.app, path, b"", *headers, method="POST", body=written))

    def as_user(self, user: User) -> "Client":
        """The same client, logged in."""
        tokens: AccessTokens = self.app.state.tokens
        return Client(self.app, ((b"authorization", f"Bearer {tokens.issue(user)}".encode()),))


def _content(path: str, reply: Reply) -> Reply:
    if reply.status >= 300:
        raise ResponseError(f"{path} returned {reply.status}: {reply.body[:500]!r}")
    return reply


Variant = Callable[[Client], Awaitable[Reply]]


@dataclass(frozen=True)
class Case:
    """An endpoint, before and after.

    Attributes:
        name: What the request does.
        route: Route template of the endpoint.
        fault: The fault of the naive endpoint.
        change: How ours avoids it.
        expected: Texts, any of which must be in the findings of our tools.
        naive: Sends the request to the naive endpoint.
        ours: Sends the request to ours.
        user: The user who sends it.
    """

    name: str
    route: str
    fault: str
    change: str
    expected: tuple[str, ...]
    naive: Variant
    ours: Variant
    user: User


@dataclass(frozen=True)
class Deep:
    """A deep page, by number and by cursor."""

    page: int
    cursor: str


async def _deep(app: FastAPI, statement: Select[Any], sort: Sort, where: str, rows: int) -> Deep:
    """The page after 90% of the rows."""
    pages = rows * 9 // 10 // PAGE
    database: Database = app.state.database
    cursors: Cursors = app.state.cursors
    async with database.reading() as session:
        last = statement.order_by(*sort.order).offset(pages * PAGE - 1).limit(1)
        row = (await session.scalars(last)).one()
    return Deep(pages + 1, cursors.encode(where, sort.values(row)))


async def admin_of(app: FastAPI) -> User:
    """The admin."""
    database: Database = app.state.database
    async with database.reading() as session:
        return (await session.scalars(select(User).where(User.role == Role.ADMIN))).one()


async def cases(app: FastAPI, size: Size) -> list[Case]:
    """All cases; deep pages are those of this shop."""
    database: Database = app.state.database
    async with database.reading() as session:
        often = select(Order.user_id).group_by(Order.user_id).order_by(func.count().desc())
        customer_id = await session.scalar(often.limit(1))
        customer = await session.get_one(User, customer_id)
        mine = select(Order.id).where(Order.user_id == customer.id).order_by(Order.id)
        order_id = (await session.scalars(mine.limit(1))).one()
    by_price, listing = SORTS[ProductSort.PRICE], Listing(ProductSort.PRICE)
    products = await _deep(app, select(Product), by_price, listing.id, size.products)
    people = await _deep(app, select(User), NEWEST, listing_id("users", NEWEST, {}), size.users)
    basket = {"items": [{"product_id": 1 + n * 7, "quantity": 1} for n in range(20)]}

    async def buy_and_cancel(client: Client) -> Reply:
        order = json.loads((await client.post("/api/orders", basket)).body)
        return await client.post(f"/api/orders/{order['id']}/cancel")

    def same(path: str, query: str = "") -> Variant:
        return lambda client: client.get(path, query)

    def login(client: Client) -> Awaitable[Reply]:
        return client.post("/api/users/login", {"email": customer.email, "password": PASSWORD})

    return [
        Case(
            "products, a deep page",
            "/api/products",
            "OFFSET, a total, whole rows, no index",
            "keyset, no total, an index for each sort order",
            ("keyset pagination", "full table scan"),
            same("/api/products", f"page={products.page}"),
            same("/api/products", f"sort=price&cursor={products.cursor}"),
            customer,
        ),
        Case(
            "products of a category",
            "/api/products",
            "lower(column), a total, no index",
            "equality, index of category and price, only of what is for sale",
            ("CREATE INDEX", "full table scan"),
            same("/api/products", "category=office"),
            same("/api/products", "sort=price&category=office"),
            customer,
        ),
        Case(
            "a product",
            "/api/products/{product_id}",
            "the key is cast to text",
            "the key as it is",
            ("cast", "CREATE INDEX", "full table scan"),
            same(f"/api/products/{size.products // 2}"),
            same(f"/api/products/{size.products // 2}"),
            customer,
        ),
        Case(
            "categories",
            "/api/categories",
            "loads every product, sorts out in Python",
            "DISTINCT in the database",
            ("full table scan",),
            same("/api/categories"),
            same("/api/categories"),
            customer,
        ),
        Case(
            "my orders",
            "/api/orders",
            "a query for the items of each order, a total, no index",
            "selectinload, keyset, index of user and time",
            ("WHERE ... IN", "CREATE INDEX"),
            same("/api/orders", "page=1"),
            same("/api/orders"),
            customer,
        ),
        Case(
            "an order",
            "/api/orders/{order_id}",
            "loads all of the user's, looks for it in Python",
            "by its key and its owner",
            ("CREATE INDEX", "full table scan"),
            same(f"/api/orders/{order_id}"),
            same(f"/api/orders/{order_id}"),
            customer,
        ),
        Case(
            "buy and cancel 20 products",
            "/api/orders",
            "three statements for each product",
            "one for all products, of each kind",
            ("WHERE ... IN", "execute(insert"),
            buy_and_cancel,
            buy_and_cancel,
            customer,
        ),
        Case(
            "best sellers",
            "/api/reports/best-sellers",
            "correlated subqueries, a date cut from the time",
            "one pass, grouped and cut before products are joined",
            ("once per row: rewrite it as a join",),
            same("/api/reports/best-sellers", "days=30"),
            same("/api/reports/best-sellers", "days=30"),
            customer,
        ),
        Case(
            "users, a deep page",
            "/api/users",
            "OFFSET, a total",
            "keyset, no total",
            ("keyset pagination", "full table scan"),
            same("/api/users", f"page={people.page}"),
            same("/api/users", f"cursor={people.cursor}"),
            await admin_of(app),
        ),
        Case(
            "log in",
            "/api/users/login",
            "lower(column)",
            "addresses are stored in lower case",
            ("CREATE INDEX", "full table scan"),
            login,
            login,
            customer,
        ),
    ]
