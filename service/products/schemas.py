"""Request and response bodies of products. Prices are integer cents."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.param_types import LINE, PROSE, WHOLE, RequestBody

MAX_PRICE = 10_000_000_000
MAX_STOCK = 1_000_000_000

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=LINE, examples=["Oak desk"])]
Description = Annotated[str, Field(max_length=2000, pattern=PROSE, examples=["Solid, 140 cm."])]
Category = Annotated[str, Field(min_length=1, max_length=60, pattern=LINE, examples=["office"])]
Price = Annotated[int, Field(ge=0, le=MAX_PRICE, description="cents", examples=[24900]), WHOLE]
Stock = Annotated[int, Field(ge=0, le=MAX_STOCK, description="pieces", examples=[12]), WHOLE]


class ProductIn(RequestBody):
    """A new product."""

    name: Name
    description: Description = ""
    category: Category
    price_cents: Price
    stock: Stock = 0


class ProductChange(RequestBody):
    """The members to change; the others stay."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    # A factory, because a default would be shown in OpenAPI although it never takes effect:
    # only what was sent is written.
    name: Name = Field(default_factory=str)
    description: Description = Field(default_factory=str)
    category: Category = Field(default_factory=str)
    price_cents: Price = Field(default_factory=int)
    stock: Stock = Field(default_factory=int)

    @model_validator(mode="after")
    def _refuse_nothing(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("send at least one member to change")
        return self


class ProductSummary(BaseModel):
    """A product in a list: without its stock, which changes with every order."""

    model_config = ConfigDict(from_attributes=True)

    id: Annotated[int, Field(examples=[1])]
    name: Annotated[str, Field(examples=["Oak desk"])]
    category: Annotated[str, Field(examples=["office"])]
    price_cents: Annotated[int, Field(examples=[24900])]


class ProductOut(ProductSummary):
    """A product in full."""

    description: Annotated[str, Field(examples=["Solid, 140 cm."])]
    stock: Annotated[int, Field(examples=[12])]
    created_at: Annotated[datetime, Field(examples=["2026-03-14T09:26:53.589793Z"])]
    version: Annotated[
        int, Field(description='grows with every change; send it as `If-Match: "7"`', examples=[7])
    ]


class Categories(BaseModel):
    """The categories that have products for sale, in alphabetical order."""

    items: Annotated[list[str], Field(examples=[["garden", "office"]])]
