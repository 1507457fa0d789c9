"""Two databases with products: of a service that knows nothing of the kit, and of our API."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlalchemy import DateTime, MetaData, Table
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from service.db import database
from service.db.cache_outbox import OUTBOX
from service.products import tables
from service.settings import Settings
from vitals.cache import Cache, CacheInvalidator, outbox_table


class AnyDatabase(Protocol):
    """A database, and how its service opens sessions."""

    product: Any
    """The mapped class: id, name, category, price_cents, stock, created_at."""
    outbox: Table
    engine: AsyncEngine

    def invalidator(self, cache: Cache) -> CacheInvalidator:
        """Observe its sessions that write."""

    def reading(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Open a session to read."""

    def writing(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Open a session that commits at the end."""

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Begin a transaction on a connection, which raises no event of a session."""

    async def create(self) -> None:
        """Create the tables."""

    async def close(self) -> None:
        """Close all connections."""


class Base(DeclarativeBase):
    metadata = MetaData()


class Product(Base):
    __tablename__ = "products"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    category: Mapped[str]
    price_cents: Mapped[int]
    stock: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), default=lambda: datetime.now(UTC)
    )


class ForeignDatabase:
    """As SQLAlchemy's tutorial has it: one engine, one factory of sessions."""

    product: Any = Product
    outbox = outbox_table(Base.metadata)

    def __init__(self, url: str) -> None:
        self.engine = create_async_engine(url)
        self.sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    def invalidator(self, cache: Cache) -> CacheInvalidator:
        return CacheInvalidator(cache, self.sessions, outbox=self.outbox)

    def reading(self) -> AbstractAsyncContextManager[AsyncSession]:
        return self.sessions()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        # Not `sessions.begin()`, which commits though its caller is cancelled.
        async with self.sessions() as session, session.begin():
            yield session

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self.engine.begin()

    async def create(self) -> None:
        async with self.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)

    async def close(self) -> None:
        await self.engine.dispose()


class ServiceDatabase:
    """That of our API: reads in autocommit, a class of its own for sessions that write."""

    product: Any = tables.Product
    outbox = OUTBOX

    def __init__(self, url: str) -> None:
        self._database = database.connect(Settings(database_url=url))
        self.engine = self._database.engine

    def invalidator(self, cache: Cache) -> CacheInvalidator:
        return CacheInvalidator(
            cache,
            self._database.session_class,
            engine=self._database.writer,
            reader=self.engine,
            outbox=OUTBOX,
        )

    def reading(self) -> AbstractAsyncContextManager[AsyncSession]:
        return self._database.reading()

    def writing(self) -> AbstractAsyncContextManager[AsyncSession]:
        return self._database.writing()

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self._database.writer.begin()

    async def create(self) -> None:
        made: list[Any] = [tables.Product.__table__, OUTBOX]
        async with self.transaction() as connection:
            await connection.run_sync(database.Base.metadata.create_all, tables=made)

    async def close(self) -> None:
        await self._database.close()
