"""Orders over HTTP: users place, see and cancel their own."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from service.auth import CallerOf
from service.conditional_requests import respond
from service.db.database import DatabaseOf
from service.openapi import cacheable, documented
from service.orders import repository
from service.orders.reports import CACHING, ReportsOf
from service.orders.repository import Wanted
from service.orders.schemas import BestSellers, OrderIn, OrderOut
from service.pagination import CursorsOf, Page, link_next
from service.param_types import Cursor, Limit, PathId
from service.users.tables import Role

router = APIRouter(tags=["orders"])

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="your name for this attempt, such as a UUID: send it again with the same "
        "body after a lost answer, and you get the same order instead of a second one",
        examples=["0b7c8f3e-58a2-4c1e-9d38-6d0f3f7f3c55"],
    ),
]


@router.post("/orders", status_code=201, responses=documented(401, 409))
async def place_order(
    *,
    order: OrderIn,
    response: Response,
    caller: CallerOf,
    database: DatabaseOf,
    idempotency_key: IdempotencyKey = None,
) -> OrderOut:
    """Place an order: stock and order are changed in one transaction."""
    lines = [(item.product_id, item.quantity) for item in order.items]
    async with database.writing() as session:
        wanted = Wanted(lines, idempotency_key)
        placed = await repository.place_order(session, caller.id, wanted)
    if placed.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    response.headers["Location"] = f"/api/orders/{placed.order.id}"
    return OrderOut.model_validate(placed.order)


@router.get("/orders", responses=documented(400, 401))
async def list_orders(
    *,
    request: Request,
    response: Response,
    caller: CallerOf,
    database: DatabaseOf,
    cursors: CursorsOf,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[OrderOut]:
    """List your own orders, newest first."""
    async with database.reading() as session:
        rows = await repository.page(session, cursors, caller.id, limit=limit, cursor=cursor)
    page = rows.as_page(OrderOut)
    link_next(request, response, page)
    return page


@router.get("/orders/{order_id}", responses=documented(401, 404))
async def get_order(order_id: PathId, caller: CallerOf, database: DatabaseOf) -> OrderOut:
    """Return one of your orders; admins can read every order."""
    user_id = None if caller.role == Role.ADMIN else caller.id
    async with database.reading() as session:
        order = await repository.find(session, order_id, user_id=user_id)
    return OrderOut.model_validate(order)


@router.post("/orders/{order_id}/cancel", responses=documented(401, 404))
async def cancel_order(order_id: PathId, caller: CallerOf, database: DatabaseOf) -> OrderOut:
    """Cancel one of your orders; its stock is returned once, however often you send this."""
    async with database.writing() as session:
        order = await repository.cancel(session, caller.id, order_id)
    return OrderOut.model_validate(order)


@router.get("/reports/best-sellers", response_model=BestSellers, **cacheable())
async def list_best_sellers(
    request: Request,
    reports: ReportsOf,
    days: Annotated[int, Query(ge=1, le=365, description="how far back")] = 30,
    limit: Annotated[int, Query(ge=1, le=100, description="products, at most")] = 10,
) -> Response:
    """List the best-selling products; up to a minute old."""
    return respond(request, await reports.best_sellers(days=days, limit=limit), CACHING)
