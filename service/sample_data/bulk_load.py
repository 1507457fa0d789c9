"""Bulk load of sample data in one transaction.

A run that is killed leaves nothing behind. On PostgreSQL rows are loaded by COPY, with indexes and
foreign keys in place: a million orders with their items take about 45 s on two cores, so dropping
those first is not worth the effort.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Table, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.db.database import Base, Database
from service.db.migrate import migrate
from service.orders.tables import Order, OrderItem
from service.products.tables import Product
from service.sample_data import generator
from service.sample_data.generator import Shop
from service.users.tables import User

BATCH_ROWS = 10_000

TABLES: tuple[Table, ...] = tuple(
    Base.metadata.tables[entity.__tablename__] for entity in (User, Product, Order, OrderItem)
)
USERS, PRODUCTS, ORDERS, ITEMS = TABLES

Write = Callable[[Table, Sequence[str], list[Any]], Awaitable[None]]
Advance = Callable[[int], None]


class NotEmptyError(Exception):
    """The database has rows already."""


async def fill(
    database: Database,
    shop: Shop,
    hashes: tuple[str, str],
    advance: Advance = lambda _orders: None,
    *,
    reset: bool = False,
) -> None:
    """Load a shop into a database, atomically.

    Args:
        database: It is migrated first, if necessary.
        shop: The rows.
        hashes: Password hashes of the admin and of every customer.
        advance: Called with the number of orders written since its last call.
        reset: Delete all rows first.

    Raises:
        NotEmptyError: There are rows; nothing is changed.
        UnavailableError: The database does not answer.
    """
    await migrate(database)
    async with database.writing() as session:
        connection = await session.connection()
        await _reserve(connection, reset=reset)
        write = _writer(connection)
        for rows in _batches(shop.people(*hashes)):
            await write(USERS, generator.USER_COLUMNS, rows)
        for rows in _batches(shop.goods()):
            await write(PRODUCTS, generator.PRODUCT_COLUMNS, rows)
        for batch in shop.sales(BATCH_ROWS):
            await write(ORDERS, generator.ORDER_COLUMNS, batch.orders)
            await write(ITEMS, generator.ITEM_COLUMNS, batch.items)
            advance(len(batch.orders))
        await _finish(connection)


async def _reserve(connection: AsyncConnection, *, reset: bool) -> None:
    """Lock the tables against writes, and check that they are empty."""
    if connection.dialect.name == "postgresql":
        names = ", ".join(table.name for table in TABLES)
        await connection.execute(text(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE"))
        if reset:
            await connection.execute(text(f"TRUNCATE {names}"))
    elif reset:
        for table in reversed(TABLES):
            await connection.execute(table.delete())
    for table in TABLES:
        if (await connection.execute(select(1).select_from(table).limit(1))).first():
            raise NotEmptyError(f"table {table.name} has rows already")


def _batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
    source = iter(rows)
    while batch := list(islice(source, BATCH_ROWS)):
        yield batch


def _writer(connection: AsyncConnection) -> Write:
    async def copy(table: Table, columns: Sequence[str], rows: list[Any]) -> None:
        adapter = await connection.get_raw_connection()
        driver: Any = adapter.driver_connection
        await driver.copy_records_to_table(table.name, columns=columns, records=rows)

    async def insert(table: Table, columns: Sequence[str], rows: list[Any]) -> None:
        records = [dict(zip(columns, row, strict=True)) for row in rows]
        await connection.execute(table.insert(), records)

    return copy if connection.dialect.name == "postgresql" else insert


async def _finish(connection: AsyncConnection) -> None:
    """Set the sequences to the next ids, and update the planner statistics."""
    if connection.dialect.name == "postgresql":
        for table in (USERS, PRODUCTS, ORDERS):
            sequence = func.pg_get_serial_sequence(table.name, "id")
            highest = select(func.coalesce(func.max(table.c.id), 0)).scalar_subquery()
            await connection.execute(select(func.setval(sequence, highest + 1, False)))
    await connection.execute(text("ANALYZE"))
