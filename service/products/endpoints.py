"""Products over HTTP: everybody reads, admins write."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.auth import AdminOf
from service.conditional_requests import ETag, IfMatch, Precondition, respond
from service.db.database import DatabaseOf
from service.openapi import cacheable, documented, tagged
from service.pagination import Page, link_to, next_of
from service.param_types import Cursor, Limit, PathId
from service.products import repository
from service.products.catalogue import CACHING, CatalogueOf
from service.products.repository import Listing, ProductSort
from service.products.schemas import (
    MAX_PRICE,
    Categories,
    ProductChange,
    ProductIn,
    ProductOut,
    ProductSummary,
)
from service.products.tables import Product

router = APIRouter(tags=["products"])

SortOrder = Annotated[ProductSort, Query(description="the order of the list")]
NO_CONTROLS = r"^[^\x00-\x1f\x7f]*$"
CategoryFilter = Annotated[
    str | None, Query(max_length=60, pattern=NO_CONTROLS, description="only of this category")
]
TextFilter = Annotated[
    str | None,
    Query(min_length=1, max_length=100, pattern=NO_CONTROLS, description="part of the name"),
]
PriceFilter = Annotated[int | None, Query(ge=0, le=MAX_PRICE, description="cents")]


@router.get("/products", response_model=Page[ProductSummary], **cacheable(400))
async def list_products(
    *,
    request: Request,
    catalogue: CatalogueOf,
    sort: SortOrder = ProductSort.NEWEST,
    category: CategoryFilter = None,
    text: TextFilter = None,
    min_price: PriceFilter = None,
    max_price: PriceFilter = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """List products."""
    listing = Listing(sort, category, text, min_price, max_price)
    page = await catalogue.page(listing, limit=limit, cursor=cursor)
    link = link_to(request, next_of(page.body)) if page else None
    return respond(request, page, CACHING, link)


@router.get("/products/{product_id}", response_model=ProductOut, **cacheable(404))
async def get_product(product_id: PathId, request: Request, catalogue: CatalogueOf) -> Response:
    """Return a product."""
    product = await catalogue.product(product_id)
    if product is None:
        raise repository.missing(product_id)
    return respond(request, product, CACHING)


@router.get("/categories", response_model=Categories, **cacheable())
async def list_categories(request: Request, catalogue: CatalogueOf) -> Response:
    """List the categories that have products."""
    return respond(request, await catalogue.categories(), CACHING)


@router.post("/products", status_code=201, responses=tagged(201) | documented(401, 403))
async def create_product(
    new: ProductIn,
    response: Response,
    _admin: AdminOf,
    database: DatabaseOf,
) -> ProductOut:
    """Create a product (admin)."""
    product = Product(**new.model_dump())
    async with database.writing() as session:
        session.add(product)
    response.headers["Location"] = f"/api/products/{product.id}"
    response.headers["ETag"] = str(ETag(str(product.version)))
    return ProductOut.model_validate(product)


@router.patch("/products/{product_id}", responses=tagged(200) | documented(401, 403, 404, 412, 428))
async def update_product(
    *,
    product_id: PathId,
    change: ProductChange,
    response: Response,
    _admin: AdminOf,
    database: DatabaseOf,
    if_match: IfMatch = None,
) -> ProductOut:
    """Change some members of a product (admin).

    Orders change the stock all the time, so `If-Match` must name the version that you mean to
    change: 428 without it, 412 if there is a newer one.
    """
    precondition = Precondition.required(if_match)
    async with database.writing() as session:
        values = change.model_dump(exclude_unset=True)
        product = await repository.change(session, product_id, precondition, values)
    response.headers["ETag"] = str(ETag(str(product.version)))
    return ProductOut.model_validate(product)


@router.delete("/products/{product_id}", status_code=204, responses=documented(401, 403, 404, 412))
async def delete_product(
    product_id: PathId,
    _admin: AdminOf,
    database: DatabaseOf,
    if_match: IfMatch = None,
) -> None:
    """Delete a product; orders keep it (admin).

    `If-Match` is optional, as no change of another client is lost; if it is sent, it must match.
    """
    async with database.writing() as session:
        await repository.delete(session, product_id, Precondition.optional(if_match))
