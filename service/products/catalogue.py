"""Product catalogue: reads of products, product pages and categories through the cache.

They show what was committed last. Orders still read prices and stock from the database and lock
them.
"""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Request

from service.db.database import Database
from service.pagination import Cursors, Page
from service.products import repository
from service.products.repository import Listing
from service.products.schemas import Categories, ProductOut, ProductSummary
from vitals.cache import Cache, Change, InvalidationTarget, Rendered

PRODUCT_SECONDS = 300
LIST_SECONDS = 60
LISTED = frozenset({"name", "category", "price_cents", "created_at", "deleted_at"})
"""The columns that lists show, sort and filter by: not the stock, which every order changes."""
CATEGORISED = frozenset({"category", "deleted_at"})
CACHING = "public, max-age=5, stale-while-revalidate=30"
"""``Cache-Control`` for browsers and proxies. Invalidations do not reach them, so they revalidate
soon; with ``If-None-Match`` that costs no query."""


class Catalogue:
    """Reads products through three namespaces, and maps changes to invalidations."""

    def __init__(self, database: Database, cursors: Cursors, cache: Cache) -> None:
        self._database = database
        self._cursors = cursors
        self.products = cache.namespace("product", schema=ProductOut, ttl=PRODUCT_SECONDS)
        self._pages = cache.namespace(
            "product_page",
            schema=Page[ProductSummary],
            key="{limit}:{cursor}:{listing}",
            ttl=LIST_SECONDS,
        )
        self._categories = cache.namespace(
            "categories", schema=Categories, key="{which}", ttl=PRODUCT_SECONDS
        )

    async def by_key(self, key: str) -> Rendered | None:
        """Return the product of a cache key."""
        return await self.product(int(key))

    async def product(self, product_id: int) -> Rendered | None:
        """Return the product with this id, a ``ProductOut``."""

        async def load() -> ProductOut | None:
            async with self._database.reading() as session:
                found = await repository.find(session, product_id)
            return None if found is None else ProductOut.model_validate(found)

        return await self.products.render(self.products.key(id=product_id), load)

    async def page(self, listing: Listing, *, limit: int, cursor: str | None) -> Rendered | None:
        """Return one page of a listing, a ``Page[ProductSummary]``.

        Raises:
            BadCursorError: The cursor belongs to another listing.
        """

        async def load() -> Page[ProductSummary]:
            async with self._database.reading() as session:
                rows = await repository.page(
                    session, self._cursors, listing, limit=limit, cursor=cursor
                )
            return rows.as_page(ProductSummary)

        key = self._pages.key(limit=limit, cursor=cursor or "", listing=listing.id)
        return await self._pages.render(key, load)

    async def categories(self) -> Rendered | None:
        """Return all ``Categories``."""

        async def load() -> Categories:
            async with self._database.reading() as session:
                return Categories(items=await repository.categories(session))

        return await self._categories.render(self._categories.key(which="all"), load)

    def invalidated_by(self, change: Change) -> Iterator[InvalidationTarget]:
        """Yield what a changed product invalidates."""
        known = change.key is not None
        yield (
            self.products.entry(self.products.key(id=change.key))
            if known
            else self.products.everything
        )
        if change.writes(LISTED):
            yield self._pages.everything
        if change.writes(CATEGORISED):
            yield self._categories.everything


async def _of(request: Request) -> Catalogue:
    catalogue: Catalogue = request.app.state.catalogue
    return catalogue


CatalogueOf = Annotated[Catalogue, Depends(_of)]
"""The catalogue of the app that handles the request."""
