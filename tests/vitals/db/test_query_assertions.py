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


def test_as_many_as_expected_is_fine() -> None:
    with expect_queries(at_most=2) as sent:
        send(1, 2)
    assert [one.text for one in sent] == ["SELECT ?, ?", "SELECT ?, ?"]


def test_more_fails_with_the_statements_and_their_lines() -> None:
    with pytest.raises(AssertionError) as failed, expect_queries(at_most=1):
        send(1, 2)
    told = str(failed.value)
    assert "2 statements were sent, at most 1 expected" in told
    assert told.count("SELECT ?, ?") == 2
    assert told.count("tests/vitals/db/test_query_assertions.py:18 in send") == 2
    assert "hunter2" not in told


def test_a_failure_of_the_block_is_not_hidden() -> None:
    def send_and_fail() -> None:
        send(1)
        raise LookupError

    with pytest.raises(LookupError), expect_queries(at_most=0):
        send_and_fail()


def test_only_the_block_counts() -> None:
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


def test_once_a_row_fails_where_it_is_not_wanted(tmp_path: Path) -> None:
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
    assert "30 times from tests/vitals/db/test_query_assertions.py:" in str(failed.value)


def test_the_fixture_collects_what_a_test_sends(queries: StatementRecorder) -> None:
    send(1, 2, 3)
    queries.expect(at_most=3, no_n_plus_one=True)
    with pytest.raises(AssertionError, match="at most 2"):
        queries.expect(at_most=2)
