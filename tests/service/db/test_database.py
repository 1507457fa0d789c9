"""Only write transactions may write."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from service.products.tables import Product
from tests.service.running import Service

pytestmark = pytest.mark.anyio

REFUSED = r"(?i)read-?only"
INSERT = insert(Product).values(name="Lamp", category="light", price_cents=100, stock=1)


class UndoneError(Exception):
    """Raised to end a transaction."""


async def write_among_reads(service: Service, write: Any = INSERT) -> None:
    async with service.database.reading() as session:
        await session.execute(write)
        await session.commit()


async def undo(_session: AsyncSession) -> None:
    raise UndoneError


END: dict[str, Callable[[AsyncSession], Awaitable[Any]]] = {
    "commit": lambda session: session.flush(),
    "rollback": undo,
    "error": lambda session: session.execute(text("SELECT nonsense")),
}


async def count(service: Service) -> int:
    async with service.database.reading() as session:
        return await session.scalar(select(func.count()).select_from(Product)) or 0


@pytest.mark.parametrize(
    "write",
    [INSERT, text("UPDATE products SET stock = 0"), text("DROP TABLE users")],
    ids=["insert", "update", "drop"],
)
async def test_write_in_read_session_is_refused(service: Service, write: Any) -> None:
    await service.product()
    await service.database.engine.dispose()
    for _ in range(3):  # on a new connection, and on one with a refused write
        with pytest.raises(DBAPIError, match=REFUSED):
            await write_among_reads(service, write)
    assert await count(service) == 1
    await service.product()
    assert await count(service) == 2


@pytest.mark.parametrize("outcome", END)
async def test_connection_is_read_only_again_after_transaction(
    service: Service, outcome: str
) -> None:
    with suppress(DBAPIError, UndoneError):
        async with service.database.writing() as session:
            await session.execute(INSERT)
            await END[outcome](session)
    with pytest.raises(DBAPIError, match=REFUSED):
        await write_among_reads(service)
    assert await count(service) == (1 if outcome == "commit" else 0)


async def test_read_session_adds_no_statement(service: Service, statements: list[str]) -> None:
    await count(service)
    assert len(statements) == 1
