"""Two shops with the same rows: ours with its indexes, and one without."""

import asyncio
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, inspect

from bench.databases import postgresql
from service.db.database import connect
from service.sample_data.bulk_load import fill
from service.sample_data.generator import Shop
from service.seed import progress
from service.settings import Settings
from service.users.passwords import Passwords

PASSWORD = "only-for-this-run"  # noqa: S105 - of generated users
KEPT_INDEXES = {"ix_order_items_product"}
"""Foreign key indexes that the naive shop keeps: without them a report takes hours."""
UNLIMITED = 10**9


@dataclass(frozen=True)
class Size:
    """Size of a shop."""

    users: int
    products: int
    orders: int


@dataclass(frozen=True)
class Fixture:
    """Both shops on one database system.

    Attributes:
        system: ``postgresql`` or ``sqlite``.
        ours: Settings of the service for the shop with indexes.
        naive: The same for the shop without.
        size: Size of each shop.
    """

    system: str
    ours: Settings
    naive: Settings
    size: Size


@contextmanager
def on_postgresql(folder: Path, size: Size) -> Iterator[Fixture]:
    """Both shops on a temporary PostgreSQL."""
    with postgresql(shared_buffers="256MB") as server:
        ours = _settings(folder, server.database("ours"))
        server.sql("CREATE EXTENSION IF NOT EXISTS hypopg", "ours")
        asyncio.run(seed(ours, size))
        server.sql("VACUUM ANALYZE", "ours")
        server.sql("CREATE DATABASE naive TEMPLATE ours OWNER vitals")
        naive = _settings(folder, server.database("naive"))
        asyncio.run(strip(naive))
        server.sql("VACUUM ANALYZE", "naive")
        yield Fixture("postgresql", ours, naive, size)


@contextmanager
def on_sqlite(folder: Path, size: Size) -> Iterator[Fixture]:
    """Both shops in SQLite files."""
    ours = _settings(folder, f"sqlite+aiosqlite:///{folder}/ours.db")
    asyncio.run(seed(ours, size))
    shutil.copy(folder / "ours.db", folder / "naive.db")
    naive = _settings(folder, f"sqlite+aiosqlite:///{folder}/naive.db")
    asyncio.run(strip(naive))
    yield Fixture("sqlite", ours, naive, size)


def _settings(folder: Path, url: str) -> Settings:
    return Settings(
        database_url=url,
        statement_timeout=3600,
        jwt_key_file=folder / "jwt-key",
        account_attempts=UNLIMITED,
        address_attempts=UNLIMITED,
        hash_memory_kib=64,  # so that a login measures its query
        hash_passes=1,
    )


async def seed(settings: Settings, size: Size) -> None:
    """Fill the shop, with a progress bar."""
    shop = Shop(
        users=size.users,
        products=size.products,
        orders=size.orders,
        seed=1,
        until=datetime.now(UTC),
    )
    system = settings.database().get_backend_name()
    print(f"{system}: seeding {size.orders:,} orders", file=sys.stderr, flush=True)
    database, passwords = connect(settings), Passwords(settings)
    try:
        hashed = await passwords.hash(PASSWORD)
        with progress(size.orders) as advance:
            await fill(database, shop, (hashed, hashed), advance)
    finally:
        passwords.close()
        await database.close()


async def strip(settings: Settings) -> None:
    """Drop the indexes, except primary keys and unique ones."""
    database = connect(settings)
    try:
        async with database.reading() as session:  # outside of a transaction
            allow = {
                "postgresql": "SET default_transaction_read_only = off",
                "sqlite": "PRAGMA query_only=OFF",
            }
            connection = await session.connection()
            await connection.exec_driver_sql(allow[connection.dialect.name])
            await connection.run_sync(_strip)
    finally:
        await database.close()


def _strip(connection: Connection) -> None:
    schema = inspect(connection)
    change = Operations(MigrationContext.configure(connection))
    for table in schema.get_table_names():
        for index in schema.get_indexes(table):
            name = index["name"]
            if name and name not in KEPT_INDEXES and not index["unique"]:
                change.drop_index(name, table)
    if (
        connection.dialect.name == "sqlite"
    ):  # the copied table would cascade the delete to all items
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    with change.batch_alter_table("orders") as orders:
        orders.drop_constraint("uq_orders_user_id_idempotency_key", type_="unique")
