"""PostgreSQL behind a pooler, and under a schema that changes while the service runs."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import func, literal, make_url, select, text
from sqlalchemy.exc import DBAPIError

from service.db import connection_limit, migrate
from service.db.connection_limit import PoolerError
from service.db.database import Database, connect
from service.db.postgresql import PooledConnection, SessionConnection
from service.errors import UnavailableError
from service.products.tables import Product
from service.users.tables import User
from tests.proxy import Fault, Proxy
from tests.servers import PgBouncer, Postgres, Redis
from tests.service.running import Service, running, settings_for
from tests.vitals.cache.databases import ServiceDatabase
from tests.vitals.cache.invalidation.test_session_hooks import DEADLINE_SECONDS, Shop

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

IGNORED = (
    "ignore_startup_parameters = default_transaction_read_only,statement_timeout,lock_timeout,"
    "idle_in_transaction_session_timeout,jit"
)
REQUESTS = 300
AT_ONCE = 20


async def driver_of(database: Database) -> Any:
    async with database.engine.connect() as connection:
        return (await connection.get_raw_connection()).driver_connection


@asynccontextmanager
async def opened(url: str, folder: Path, **others: Any) -> AsyncIterator[Database]:
    database = connect(settings_for(folder, url, **others))
    yield database
    await database.close()


async def statuses(
    service: Service, method: str, path: str, number: int = REQUESTS, **options: Any
) -> Counter[int]:
    """Return the number of responses by status, with `AT_ONCE` concurrent requests."""
    found: Counter[int] = Counter()
    for _ in range(number // AT_ONCE):
        asked = [service.client.request(method, path, **options) for _ in range(AT_ONCE)]
        found.update(answer.status_code for answer in await asyncio.gather(*asked))
    return found


# -- Behind a pooler -------------------------------------------------------------------------


@pytest.mark.parametrize("more", [(), (IGNORED,)], ids=["as it is", "parameters ignored"])
@pytest.mark.parametrize("query", ["", "?prepared_statement_cache_size=0"])
async def test_no_request_fails_behind_a_pooler(
    postgres: Postgres, tmp_path: Path, more: tuple[str, ...], query: str
) -> None:
    bouncer = PgBouncer(postgres, more=more)
    try:
        url = bouncer.of(postgres.database()) + query
        patient = {"pool_timeout": 60, "connect_timeout": 30, "statement_timeout": 60}
        async with running(settings_for(tmp_path, url, **patient)) as service:
            assert type(await driver_of(service.database)) is PooledConnection
            product = await service.product(stock=REQUESTS)
            _, who = await service.user()
            order = {"items": [{"product_id": product.id, "quantity": 1}]}
            orders = 60
            answers = await asyncio.gather(
                statuses(service, "GET", f"/api/products/{product.id}"),
                statuses(service, "GET", "/api/users/me", headers=who),
                statuses(service, "POST", "/api/orders", orders, headers=who, json=order),
            )
            assert list(answers) == [{200: REQUESTS}, {200: REQUESTS}, {201: orders}]
            assert await service.stock(product) == REQUESTS - orders
    finally:
        bouncer.close()


async def test_workers_that_start_together_migrate_behind_a_pooler(
    postgres: Postgres, pgbouncer: PgBouncer, tmp_path: Path
) -> None:
    url = pgbouncer.of(postgres.database())
    workers = [connect(settings_for(tmp_path, url)) for _ in range(4)]
    await asyncio.gather(*(migrate.migrate(worker) for worker in workers))
    async with workers[0].reading() as session:
        assert (await session.scalars(select(User))).all() == []
    for worker in workers:
        await worker.close()


async def test_limits_hold_behind_a_pooler_and_stay_with_their_transaction(
    postgres: Postgres, tmp_path: Path
) -> None:
    bouncer = PgBouncer(postgres, sessions=1)
    try:
        url = bouncer.of(postgres.database())
        async with opened(url, tmp_path, statement_timeout=0.5) as database:
            for use in (database.reading, database.writing):
                async with use() as session:
                    for name in ("statement_timeout", "lock_timeout"):
                        assert await session.scalar(text(f"SHOW {name}")) == "500ms"
                    assert await session.scalar(text("SHOW jit")) == "off"
            async with database.writing() as session:
                await session.execute(text("CREATE TABLE t (id integer)"))
            with pytest.raises(DBAPIError, match="read-only"):
                async with database.reading() as session:
                    await session.execute(text("INSERT INTO t VALUES (1)"))
            with pytest.raises(UnavailableError):
                async with database.reading() as session:
                    await session.execute(text("SELECT pg_sleep(30)"))
            async with database.without_timeout() as session:
                assert await session.scalar(text("SHOW statement_timeout")) == "0"
        with psycopg.connect(url.replace("+asyncpg", ""), prepare_threshold=None) as other:
            for name, value in {
                "statement_timeout": "0",
                "default_transaction_read_only": "off",
                "jit": "on",
            }.items():
                assert other.execute(f"SHOW {name}").fetchone() == (value,)
            assert other.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
    finally:
        bouncer.close()


async def test_outbox_is_polled_behind_a_pooler(
    postgres: Postgres, pgbouncer: PgBouncer, redis_server: Redis, anyio_backend: str
) -> None:
    url = pgbouncer.of(postgres.database())
    async with Proxy.before(redis_server.port) as proxy:
        cut_off, other = (
            Shop(ServiceDatabase(url), address)
            for address in (f"redis://127.0.0.1:{proxy.port}/0", redis_server.url)
        )
        await other.database.create()
        async with other.database.writing() as session:
            session.add(Product(id=1, name="thing", category="all", price_cents=1, stock=1))
        for shop in (cut_off, other):
            await shop.cache.start()
            await shop.invalidator.start()
        peers = other.invalidator._relay._peers
        assert peers is not None
        assert peers._task is not None
        async with asyncio.timeout(DEADLINE_SECONDS):
            await asyncio.wait([peers._task])
            assert not peers.is_listening
            assert await other.price(1) == 1
            proxy.inject(Fault.DROP)
            async with cut_off.database.writing() as session:
                (await session.get_one(Product, 1)).price_cents = 2
            while await other.price(1) != 2:
                await asyncio.sleep(0.02)
        proxy.clear()
        for shop in (cut_off, other):
            await shop.close()


async def test_peers_listen_directly_beside_a_pooler(
    postgres: Postgres, pgbouncer: PgBouncer, redis_server: Redis, tmp_path: Path
) -> None:
    url = postgres.database()
    given = settings_for(
        *(tmp_path, pgbouncer.of(url)), database_direct_url=url, redis_url=redis_server.url
    )
    async with running(given) as service:
        assert type(await driver_of(service.database)) is PooledConnection
        peers = service.app.state.invalidator._relay._peers
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not peers.is_listening:
                await asyncio.sleep(0.01)
        listening = "SELECT usename FROM pg_stat_activity WHERE application_name LIKE 'vitals %'"
        assert await asyncio.to_thread(postgres.sql, listening) == make_url(url).username


async def test_a_direct_url_of_a_pooler_is_refused(
    postgres: Postgres, pgbouncer: PgBouncer, tmp_path: Path
) -> None:
    url = pgbouncer.of(postgres.database())
    given = settings_for(tmp_path, url, database_direct_url=url)
    database = connect(given)
    with pytest.raises(PoolerError, match="leads to a pooler"):
        await connection_limit.check(database, given)
    await database.close()


async def test_without_a_pooler_sessions_are_used(postgres: Postgres, tmp_path: Path) -> None:
    async with opened(postgres.database(), tmp_path) as database:
        assert type(await driver_of(database)) is SessionConnection


# -- While the schema changes ----------------------------------------------------------------

CHANGES = (
    ("CREATE TABLE t (id integer, x varchar(10))", "ALTER TABLE t ALTER x TYPE varchar(20)"),
    ("CREATE TABLE t (id integer, x varchar(10))", "ALTER TABLE t ALTER id TYPE bigint"),
    ("CREATE TABLE t (id integer, x varchar(10))", "ALTER TABLE t ADD y integer DEFAULT 1"),
    (
        "CREATE TYPE kind AS ENUM ('a'); CREATE TABLE t (id integer, x kind)",
        "DROP TABLE t; DROP TYPE kind; CREATE TYPE kind AS ENUM ('a'); CREATE TABLE t (id integer)",
    ),
    (
        "CREATE TYPE pair AS (a integer); CREATE TABLE t (id integer, x pair)",
        "ALTER TYPE pair ADD ATTRIBUTE b integer CASCADE",
    ),
)


@pytest.mark.parametrize(("before", "change"), CHANGES)
async def test_a_read_survives_a_change_of_the_schema(
    postgres: Postgres, tmp_path: Path, before: str, change: str
) -> None:
    url = postgres.database()
    name = url.rpartition("/")[2]
    granted = "GRANT SELECT ON t TO PUBLIC; INSERT INTO t (id) VALUES (1);"
    postgres.sql(f"{before}; {granted}", database=name)
    statement = text("SELECT * FROM t WHERE id = :id")
    async with opened(url, tmp_path, pool_size=3) as database:

        async def read() -> Any:
            async with database.reading() as session:
                await session.execute(
                    text("SELECT pg_sleep(0.01)")
                )  # so that each has its own connection
                return (await session.execute(statement, {"id": 1})).mappings().one()

        await asyncio.gather(*(read() for _ in range(3)))
        postgres.sql(change + (f"; {granted}" if "DROP TABLE" in change else ""), database=name)
        rows = await asyncio.gather(*(read() for _ in range(3)))
        assert [row["id"] for row in rows] == [1, 1, 1]
        assert all(("y" in row) == ("ADD y" in change) for row in rows)


async def test_a_read_survives_the_loss_of_prepared_statements(
    postgres: Postgres, tmp_path: Path
) -> None:
    async with opened(postgres.database(), tmp_path) as database:
        for _ in range(2):
            async with database.reading() as session:
                assert await session.scalar(text("SELECT 1")) == 1
            await (await driver_of(database)).execute("DEALLOCATE ALL")


async def test_schema_change_in_transaction_is_503(postgres: Postgres, tmp_path: Path) -> None:
    async with opened(postgres.database(), tmp_path) as database:
        async with database.writing() as session:
            await session.execute(text("CREATE TABLE t (id integer, x varchar(10))"))

        async def write() -> None:
            async with database.writing() as session:
                await session.execute(text("INSERT INTO t VALUES (1, 'a') RETURNING x"))

        await write()
        async with database.writing() as session:  # on a connection without prepared statements
            await (await session.connection()).exec_driver_sql("SELECT 1")
            postgres.sql(
                "ALTER TABLE t ALTER x TYPE varchar(20)",
                database=str(database.engine.url.database),
            )
        with pytest.raises(UnavailableError):
            await write()
        await write()
        async with database.reading() as session:
            assert await session.scalar(text("SELECT count(*) FROM t")) == 2


async def test_schema_change_and_cut_connections_cause_no_500(
    postgres: Postgres, tmp_path: Path
) -> None:
    url = postgres.database()
    name = url.rpartition("/")[2]
    async with running(settings_for(tmp_path, url)) as service:
        product = await service.product(stock=10 * REQUESTS)
        _, who = await service.user()
        order = {"items": [{"product_id": product.id, "quantity": 1}]}

        async def work() -> Counter[int]:
            kinds = (
                statuses(service, "GET", "/api/users/me", 40, headers=who),
                statuses(service, "GET", "/api/orders", 40, headers=who),
                statuses(service, "POST", "/api/orders", 40, headers=who, json=order),
            )
            return sum(await asyncio.gather(*kinds), Counter())

        async def change(sql: str) -> None:
            await asyncio.to_thread(postgres.sql, sql, database=name)

        await work()
        for sql in (
            "ALTER TABLE users ALTER COLUMN name TYPE varchar(200)",
            "ALTER TABLE orders ALTER COLUMN status TYPE varchar(61)",
            "ALTER TABLE products ALTER COLUMN stock TYPE bigint",
        ):
            found, _ = await asyncio.gather(work(), change(sql))
            assert set(found) <= {200, 201, 503}
            assert found[503] <= AT_ONCE
            assert 503 not in await work()
        await change(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        found = await work()  # the event loop may not have noticed yet that they are closed
        assert set(found) <= {200, 201, 503}
        assert found[503] <= AT_ONCE
        assert 503 not in await work()


async def test_a_connection_that_the_server_has_closed_is_replaced(
    postgres: Postgres, tmp_path: Path
) -> None:
    async with opened(postgres.database(), tmp_path) as database:
        driver = await driver_of(database)
        postgres.sql(f"SELECT pg_terminate_backend({driver.get_server_pid()})")
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not driver.is_closed():
                await asyncio.sleep(0.01)
        async with database.writing() as session:
            assert await session.scalar(text("SELECT 1")) == 1


async def test_a_single_read_survives_the_end_of_its_connection(
    postgres: Postgres, tmp_path: Path
) -> None:
    async with opened(postgres.database(), tmp_path) as database:
        driver = await driver_of(database)
        asked = asyncio.create_task(database.row(select(func.pg_sleep(1.0), literal(1))))
        pid = driver.get_server_pid()
        seen = f"SELECT wait_event FROM pg_stat_activity WHERE pid = {pid}"  # noqa: S608 - a number
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await asyncio.to_thread(postgres.sql, seen) != "PgSleep":
                await asyncio.sleep(0.01)
        await asyncio.to_thread(postgres.sql, f"SELECT pg_terminate_backend({pid})")
        assert tuple(await asked or ())[1:] == (1,)
