"""Request and response bodies of orders. Prices are integer cents."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.orders.tables import OrderStatus
from service.param_types import WHOLE, RequestBody, RowId

MAX_ITEMS = 50
MAX_PIECES = 1000

ProductId = Annotated[RowId, Field(examples=[1])]


class ItemIn(RequestBody):
    """A product to order, and its quantity."""

    product_id: ProductId
    quantity: Annotated[int, Field(ge=1, le=MAX_PIECES, examples=[2]), WHOLE]


class OrderIn(RequestBody):
    """The items to order; quantities of the same product are added up."""

    items: Annotated[list[ItemIn], Field(min_length=1, max_length=MAX_ITEMS)]


class ItemOut(BaseModel):
    """A product in an order; the price is for one piece, when it was ordered."""

    model_config = ConfigDict(from_attributes=True)

    product_id: ProductId
    quantity: Annotated[int, Field(examples=[2])]
    price_cents: Annotated[int, Field(examples=[24900])]


class OrderOut(BaseModel):
    """An order."""

    model_config = ConfigDict(from_attributes=True)

    id: Annotated[int, Field(examples=[1])]
    status: OrderStatus
    total_cents: Annotated[int, Field(examples=[49800])]
    created_at: Annotated[datetime, Field(examples=["2026-03-14T09:26:53.589793Z"])]
    cancelled_at: Annotated[datetime | None, Field(examples=["2026-03-14T10:00:00Z"])]
    items: list[ItemOut]


class BestSeller(BaseModel):
    """A product with the number of pieces sold."""

    product_id: ProductId
    name: Annotated[str, Field(examples=["Oak desk"])]
    category: Annotated[str, Field(examples=["office"])]
    pieces: Annotated[int, Field(examples=[420])]
    orders: Annotated[int, Field(examples=[311])]


class BestSellers(BaseModel):
    """The best-selling products, most pieces first."""

    days: Annotated[int, Field(description="how far back", examples=[30])]
    items: list[BestSeller]
