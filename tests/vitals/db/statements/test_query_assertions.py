import asyncio
import threading
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from tests.vitals.db.shop import Customer, opened
from vitals.db.statements.query_assertions import StatementRecorder
from vitals.testing import expect_queries


def send(*numbers: int) -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        for number in numbers:
            connection.execute(text("SELECT :n, 'hunter2'"), {"n": number})
    engine.dispose()


def test_passes_at_the_limit() -> None:
    with expect_queries(at_most=2) as sent:
        send(1, 2)
    assert [one.text for one in sent] == ["SELECT ?, ?", "SELECT ?, ?"]


def test_fails_above_the_limit_with_statements_and_call_sites() -> None:
    with pytest.raises(AssertionError) as failed, expect_queries(at_most=1):
        send(1, 2)
    message = str(failed.value)
    assert "2 statements were sent, at most 1 expected" in message
    assert message.count("SELECT ?, ?") == 2
    assert message.count("tests/vitals/db/statements/test_query_assertions.py:18 in send") == 2
    assert "hunter2" not in message


def test_exception_in_the_block_is_not_masked() -> None:
    def send_and_fail() -> None:
        send(1)
        raise LookupError

    with pytest.raises(LookupError), expect_queries(at_most=0):
        send_and_fail()


def test_only_statements_within_the_block_count() -> None:
    send(1)
    with expect_queries(at_most=1):
        send(1)
    send(1)


def test_connections_opened_before_and_other_threads_count() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection, expect_queries() as sent:
        connection.execute(text("SELECT 1"))
        thread = threading.Thread(target=send, args=(1,))
        thread.start()
        thread.join()
    engine.dispose()
    assert len(sent) == 2


def test_no_n_plus_one_fails(tmp_path: Path) -> None:
    async def load() -> None:
        async with (
            opened(f"sqlite+aiosqlite:///{tmp_path}/shop.db") as engine,
            AsyncSession(engine) as session,
        ):
            with expect_queries(at_most=100, no_n_plus_one=True):
                for customer in await session.scalars(select(Customer)):
                    await customer.awaitable_attrs.orders

    with pytest.raises(AssertionError, match=r"selectinload\(Customer\.orders\)") as failed:
        asyncio.run(load())
    assert "30 times from tests/vitals/db/statements/test_query_assertions.py:" in str(failed.value)


def test_queries_fixture(queries: StatementRecorder) -> None:
    send(1, 2, 3)
    queries.expect(at_most=3, no_n_plus_one=True)
    with pytest.raises(AssertionError, match="at most 2"):
        queries.expect(at_most=2)
