"""N+1 detection: true positives, false positives, and advice."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import BindParameter, bindparam, insert, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, joinedload, selectinload

from tests.vitals.client import converse, http_scope
from tests.vitals.db.shop import CUSTOMERS, Customer, Item, Order, opened
from tests.vitals.journal import kit_events
from vitals import instrument
from vitals.db.statements.n_plus_one import Moment, NPlusOneDetector
from vitals.metrics.catalogue import DB_N_PLUS_ONE, DB_QUERIES_PER_REQUEST
from vitals.testing import Readings

Work = Callable[[AsyncSession], Awaitable[object]]


def chunks(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


# -- N+1 -----------------------------------------------------------------------------------


async def lazy_collections(session: AsyncSession) -> None:
    for customer in await session.scalars(select(Customer)):
        await customer.awaitable_attrs.orders


async def lazy_parents(session: AsyncSession) -> None:
    for order in await session.scalars(select(Order).where(Order.id % 10 == 0).limit(6)):
        await order.awaitable_attrs.customer


async def lazy_in_run_sync(session: AsyncSession) -> None:
    def walk(sync: Session) -> int:
        return sum(len(customer.orders) for customer in sync.scalars(select(Customer)))

    await session.run_sync(walk)


async def nested_relations(session: AsyncSession) -> None:
    for customer in await session.scalars(select(Customer).options(selectinload(Customer.orders))):
        for order in customer.orders:
            await order.awaitable_attrs.items


async def deferred_columns(session: AsyncSession) -> None:
    for customer in await session.scalars(select(Customer)):
        await customer.awaitable_attrs.note


async def get_by_id(session: AsyncSession) -> None:
    for number in range(1, 6):
        await session.get(Customer, number)


async def raw_by_value(session: AsyncSession) -> None:
    for number in range(1, 8):
        await session.execute(text("SELECT name FROM customers WHERE id = :id"), {"id": number})


async def gathered(session: AsyncSession) -> None:
    async def one(number: int) -> None:
        async with AsyncSession(session.bind) as own:
            await own.execute(select(Customer.name).where(Customer.id == number))

    await asyncio.gather(*(one(number) for number in range(1, 8)))


async def insert_row_by_row(session: AsyncSession) -> None:
    for number in range(1_000, 1_010):
        await session.execute(insert(Customer).values(id=number, name="x", note=""))


async def update_row_by_row(session: AsyncSession) -> None:
    for number in range(1, 8):
        await session.execute(
            update(Customer).where(Customer.id == number).values(name=f"y{number}")
        )


async def flush_row_by_row(session: AsyncSession) -> None:
    for number in range(2_000, 2_006):
        session.add(Customer(id=number, name="x", note=""))
        await session.flush()


async def async_generator(session: AsyncSession) -> None:
    async def names() -> AsyncIterator[str]:
        for number in range(1, 8):
            query = select(Customer.name).where(Customer.id == number)
            yield (await session.scalars(query)).one()

    assert len([name async for name in names()]) == 7


async def list_of_one(session: AsyncSession) -> None:
    for number in range(1, 8):
        await session.execute(select(Order).where(Order.customer_id.in_([number])))


async def first_of_each(session: AsyncSession) -> None:
    for number in range(1, 8):
        await session.scalar(select(Order).where(Order.customer_id == number).limit(1))


async def helper_in_a_loop(session: AsyncSession) -> None:
    async def look_up(number: int) -> str | None:
        return await session.scalar(select(Customer.name).where(Customer.id == number))

    for number in range(1, 8):
        await look_up(number)


async def comprehension(session: AsyncSession) -> None:
    numbers = range(1, 8)
    names = [await session.scalar(select(Item.label).where(Item.id == n)) for n in numbers]
    assert len(names) == 7


async def literal(session: AsyncSession) -> None:
    for number in range(1, 8):
        await session.execute(text(f"SELECT name FROM customers WHERE id = {number}"))  # noqa: S608


async def literal_strings_of_the_driver(session: AsyncSession) -> None:
    connection = await session.connection()
    for name in "abcdefg":
        await connection.exec_driver_sql(f"SELECT id FROM customers WHERE name = '{name}'")  # noqa: S608


async def rendered_literals(session: AsyncSession) -> None:
    for number in range(1, 8):
        value: BindParameter[int] = bindparam("n", number, literal_execute=True)
        await session.execute(select(Customer.name).where(Customer.id == value))


async def literal_rows(session: AsyncSession) -> None:
    for number in range(3_000, 3_007):
        await session.execute(text(f"INSERT INTO customers VALUES ({number}, 'x', '')"))  # noqa: S608


async def few_values_in_runs(session: AsyncSession) -> None:
    for number in (1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3):
        await session.execute(text("SELECT name FROM customers WHERE id = :id"), {"id": number})


async def slow_calls(session: AsyncSession) -> None:
    """Not pauses of the request, but of the database: a tenth of a second each."""
    await slow_down(session)
    for number in range(1, 8):
        await session.execute(text("SELECT pause(:id)"), {"id": number})


async def with_other_work_between(session: AsyncSession) -> None:
    await slow_down(session)
    for number in range(1, 8):
        await session.execute(text("SELECT name FROM customers WHERE id = :id"), {"id": number})
        await session.execute(text("SELECT pause(0)"))


async def burst_between_pauses(session: AsyncSession) -> None:
    for number in range(1, 10):
        await session.execute(text("SELECT name FROM customers WHERE id = :id"), {"id": number})
        if number == 4:
            await asyncio.sleep(0.2)


async def slow_down(session: AsyncSession) -> None:
    """Define a function of SQLite that takes a tenth of a second."""

    def pause(number: int) -> int:
        time.sleep(0.1)
        return number

    connection = await session.connection()
    raw: Any = (await connection.get_raw_connection()).driver_connection
    await raw.create_function("pause", 1, pause)


N_PLUS_ONE: dict[Work, str] = {
    lazy_collections: "Customer.orders",
    lazy_parents: "Order.customer",
    lazy_in_run_sync: "Customer.orders",
    nested_relations: "Order.items",
    deferred_columns: "Customer.note",
    get_by_id: "",
    raw_by_value: "",
    gathered: "",
    insert_row_by_row: "",
    update_row_by_row: "",
    flush_row_by_row: "",
    async_generator: "",
    list_of_one: "",
    first_of_each: "",
    helper_in_a_loop: "",
    comprehension: "",
    literal: "",
    literal_strings_of_the_driver: "",
    rendered_literals: "",
    literal_rows: "",
    few_values_in_runs: "",
    slow_calls: "",
    with_other_work_between: "",
    burst_between_pauses: "",
}

# -- No N+1 --------------------------------------------------------------------------------


async def four_times(session: AsyncSession) -> None:
    for number in range(1, 5):
        await session.execute(select(Customer.name).where(Customer.id == number))


async def eager_in_batches(session: AsyncSession) -> None:
    query = select(Customer).options(selectinload(Customer.orders))
    for some in chunks(range(1, CUSTOMERS + 1), 5):
        found = await session.scalars(query.where(Customer.id.in_(some)))
        assert all(len(customer.orders) == 2 for customer in found)


async def joined(session: AsyncSession) -> None:
    query = select(Customer).options(joinedload(Customer.orders).selectinload(Order.items))
    assert len((await session.scalars(query)).unique().all()) == CUSTOMERS


async def expanding_lists(session: AsyncSession) -> None:
    for some in chunks(range(1, CUSTOMERS + 1), 4):
        await session.execute(select(Order).where(Order.customer_id.in_(some)))


async def row_values(session: AsyncSession) -> None:
    for some in chunks([(n, f"c{n}") for n in range(1, CUSTOMERS + 1)], 4):
        await session.execute(
            select(Customer).where(tuple_(Customer.id, Customer.name).in_([*some]))
        )


async def raw_lists(session: AsyncSession) -> None:
    for n in range(1, 20, 2):
        await session.execute(
            text("SELECT name FROM customers WHERE id IN (:a, :b)"), {"a": n, "b": n + 1}
        )


async def pages_by_offset(session: AsyncSession) -> None:
    for page in range(8):
        await session.execute(select(Order).order_by(Order.id).limit(10).offset(10 * page))


async def pages_by_key(session: AsyncSession) -> None:
    last = 0
    while rows := list(
        await session.scalars(select(Order.id).where(Order.id > last).order_by(Order.id).limit(10))
    ):
        last = rows[-1]


async def raw_pages(session: AsyncSession) -> None:
    for last in range(0, 100, 10):
        await session.execute(
            text("SELECT id FROM orders WHERE id > :last ORDER BY id LIMIT :n"),
            {"last": last, "n": 50},
        )


async def retries(session: AsyncSession) -> None:
    for _ in range(8):
        await session.execute(select(Customer.name).where(Customer.id == 1))


async def no_values(session: AsyncSession) -> None:
    for _ in range(8):
        await session.execute(text("SELECT count(*) FROM orders"))


async def bulk_insert(session: AsyncSession) -> None:
    for start in range(1_000, 1_100, 10):
        rows = [{"id": start + i, "name": "x", "note": ""} for i in range(10)]
        await session.execute(insert(Customer), rows)


async def bulk_update(session: AsyncSession) -> None:
    table = Customer.__table__
    query = table.update().where(table.c.id == bindparam("key"))  # type: ignore[attr-defined]
    connection = await session.connection()
    for start in range(1, CUSTOMERS, 5):
        rows = [{"key": start + i, "name": "z"} for i in range(5)]
        await connection.execute(query, rows)


async def unit_of_work(session: AsyncSession) -> None:
    session.add_all([Customer(name=f"n{n}", note="") for n in range(50)])
    await session.flush()


async def from_different_lines(session: AsyncSession) -> None:
    async def look_up(number: int) -> str | None:
        return await session.scalar(select(Customer.name).where(Customer.id == number))

    await look_up(1)
    await look_up(2)
    await look_up(3)
    await look_up(4)
    await look_up(5)
    await look_up(6)


async def streamed(session: AsyncSession) -> None:
    rows = await session.stream(select(Order).execution_options(yield_per=5))
    assert len([row async for row in rows]) == 2 * CUSTOMERS


async def different_statements(session: AsyncSession) -> None:
    for number, column in enumerate((Customer.name, Customer.id, Customer.note) * 2):
        await session.execute(select(column).where(Customer.id == number))


async def poll(session: AsyncSession) -> None:
    for last in range(12):
        await session.execute(text("SELECT id FROM orders WHERE id > :last"), {"last": last})
        await asyncio.sleep(0.04)


async def poll_twice(session: AsyncSession) -> None:
    """Two calls from one line, then a pause."""
    for last in range(12):
        await session.execute(text("SELECT id FROM orders WHERE id > :last"), {"last": last})
        if last % 2:
            await asyncio.sleep(0.11)


async def poll_by_literal(session: AsyncSession) -> None:
    for last in range(12):
        await session.execute(text(f"SELECT id FROM orders WHERE id > {last}"))  # noqa: S608
        await asyncio.sleep(0.04)


async def literal_retries(session: AsyncSession) -> None:
    for attempt in range(8):
        await session.execute(text(f"SELECT name FROM customers WHERE id = 1 -- try {attempt}"))  # noqa: S608


async def literal_pages(session: AsyncSession) -> None:
    for page in range(8):
        await session.execute(text(f"SELECT id FROM orders LIMIT 10 OFFSET {10 * page}"))  # noqa: S608


async def literal_lists(session: AsyncSession) -> None:
    for n in range(1, 20, 2):
        await session.execute(text(f"SELECT name FROM customers WHERE id IN ({n}, {n + 1})"))  # noqa: S608


async def settings(session: AsyncSession) -> None:
    for size in range(1_000, 1_008):
        await session.execute(text(f"PRAGMA cache_size = {size}"))


NO_N_PLUS_ONE: list[Work] = [
    poll,
    poll_twice,
    poll_by_literal,
    literal_retries,
    literal_pages,
    literal_lists,
    settings,
    four_times,
    eager_in_batches,
    joined,
    expanding_lists,
    row_values,
    raw_lists,
    pages_by_offset,
    pages_by_key,
    raw_pages,
    retries,
    no_values,
    bulk_insert,
    bulk_update,
    unit_of_work,
    from_different_lines,
    streamed,
    different_statements,
]


def request_and_log(folder: Path, work: Work, times: int = 1) -> tuple[Readings, list[Any]]:
    """Metrics and log events of requests that do some work."""
    app = FastAPI()

    async def run() -> list[Any]:
        async with opened(f"sqlite+aiosqlite:///{folder}/shop.db") as engine:

            @app.get("/shop/{part}")
            async def shop(part: str) -> None:
                async with AsyncSession(engine) as session:
                    await work(session)
                    await session.rollback()

            instrument(app, engine=engine)
            with kit_events() as lines:
                for _ in range(times):
                    sent = await converse(app, http_scope("GET", "/shop/books"), [], bool)
                    assert sent[0]["status"] == 200
            return list(lines)

    lines = asyncio.run(run())
    return Readings.of(app), lines


@pytest.mark.parametrize("work", N_PLUS_ONE, ids=lambda work: work.__name__)
def test_n_plus_one_is_counted_and_logged(work: Work, tmp_path: Path) -> None:
    readings, lines = request_and_log(tmp_path, work)
    assert readings.value(DB_N_PLUS_ONE, http_route="/shop/{part}") == 1
    (line,) = [line for line in lines if "N+1" in line.get("event", "")]
    assert line["relationship"] == N_PLUS_ONE[work]
    assert f" in {work.__name__}" in line["code.source"]
    assert line["code.source"].startswith("tests/vitals/db/statements/test_n_plus_one.py:")
    assert line["calls"] >= 5
    assert line["http.route"] == "/shop/{part}"


@pytest.mark.parametrize("work", NO_N_PLUS_ONE, ids=lambda work: work.__name__)
def test_no_false_positives(work: Work, tmp_path: Path) -> None:
    readings, lines = request_and_log(tmp_path, work)
    assert readings.value(DB_QUERIES_PER_REQUEST, "_sum") >= 1
    assert readings.value(DB_N_PLUS_ONE) == 0
    assert not [line for line in lines if "N+1" in line.get("event", "")]


def test_n_plus_one_advice(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    _, lazy = request_and_log(tmp_path, lazy_collections)
    assert [line["advice"] for line in lazy] == [".options(selectinload(Customer.orders))"]
    _, written = request_and_log(tmp_path_factory.mktemp("other"), insert_row_by_row)
    assert [line["advice"] for line in written] == [
        "send all rows in one execute(insert(...), rows)"
    ]


def test_every_request_is_counted_and_one_is_logged(tmp_path: Path) -> None:
    readings, lines = request_and_log(tmp_path, get_by_id, times=4)
    assert readings.value(DB_N_PLUS_ONE) == 4
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("passes", "idle", "found"),
    [
        (0.001, 0.001, True),
        (0.4, 0.0, True),  # under load: the process computes for other requests
        (0.4, 0.02, True),
        (0.4, 0.04, False),
        (1.0, 0.0, False),  # a poll per second, while the process computes for other requests
        (1.0, 1.0, False),
    ],
)
def test_calls_far_apart_are_a_burst_if_the_request_does_not_pause(
    passes: float, idle: float, *, found: bool
) -> None:
    detector = NPlusOneDetector()
    for number in range(10):
        moment = Moment(number * passes, number * idle)
        detector.check("SELECT a FROM t WHERE id = ?", (number,), None, moment)
    assert bool(detector.found) == found
