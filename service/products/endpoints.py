"""Products over HTTP: everybody reads, admins write."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.access import AdminOf
from service.database import DatabaseOf
from service.document import documented
from service.fields import Cursor, Limit, PathId
from service.pages import Page, link_next
from service.products import repository
from service.products.catalogue import CatalogueOf
from service.products.repository import Listing, SortName
from service.products.schemas import (
    LARGEST_PRICE,
    Categories,
    ProductChange,
    ProductIn,
    ProductOut,
    ProductSummary,
)
from service.products.tables import Product

router = APIRouter(tags=["products"])

NO_CONTROLS = r"^[^\x00-\x1f\x7f]*$"
CategoryFilter = Annotated[str | None, Query(max_length=60, pattern=NO_CONTROLS)]
TextFilter = Annotated[
    str | None,
    Query(min_length=1, max_length=100, pattern=NO_CONTROLS, description="part of the name"),
]
PriceFilter = Annotated[int | None, Query(ge=0, le=LARGEST_PRICE, description="cents")]


@router.get("/products", responses=documented(400))
async def list_products(
    *,
    request: Request,
    response: Response,
    catalogue: CatalogueOf,
    sort: SortName = SortName.NEWEST,
    category: CategoryFilter = None,
    text: TextFilter = None,
    min_price: PriceFilter = None,
    max_price: PriceFilter = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[ProductSummary]:
    """List products."""
    listing = Listing(sort, category, text, min_price, max_price)
    page = await catalogue.page(listing, limit=limit, cursor=cursor)
    link_next(request, response, page)
    return page


@router.get("/products/{product_id}", responses=documented(404))
async def show_product(product_id: PathId, catalogue: CatalogueOf) -> ProductOut:
    """Show a product."""
    product = await catalogue.product(product_id)
    if product is None:
        raise repository.missing(product_id)
    return product


@router.get("/categories")
async def list_categories(catalogue: CatalogueOf) -> Categories:
    """List the categories that have products."""
    return await catalogue.categories()


@router.post("/products", status_code=201, responses=documented(401, 403))
async def create_product(
    new: ProductIn,
    response: Response,
    _admin: AdminOf,
    database: DatabaseOf,
    catalogue: CatalogueOf,
) -> ProductOut:
    """Offer something new (admin)."""
    product = Product(**new.model_dump())
    async with database.writing() as session:
        session.add(product)
    await catalogue.changed(product.id)
    response.headers["Location"] = f"/api/products/{product.id}"
    return ProductOut.model_validate(product)


@router.patch("/products/{product_id}", responses=documented(401, 403, 404))
async def change_product(
    product_id: PathId,
    change: ProductChange,
    _admin: AdminOf,
    database: DatabaseOf,
    catalogue: CatalogueOf,
) -> ProductOut:
    """Change some members of a product (admin)."""
    async with database.writing() as session:
        values = change.model_dump(exclude_unset=True)
        product = await repository.change(session, product_id, values)
    await catalogue.changed(product_id)
    return ProductOut.model_validate(product)


@router.delete("/products/{product_id}", status_code=204, responses=documented(401, 403, 404))
async def delete_product(
    product_id: PathId, _admin: AdminOf, database: DatabaseOf, catalogue: CatalogueOf
) -> None:
    """Take a product off sale; orders keep it (admin)."""
    async with database.writing() as session:
        await repository.delete(session, product_id)
    await catalogue.changed(product_id)
