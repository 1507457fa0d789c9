import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import TextClause, event, exc, text
from sqlalchemy.ext.asyncio import AsyncSession

from service.db.database import DatabaseOf, connect
from service.db.driver_errors import is_outage
from service.errors import UnavailableError
from service.products.tables import Product
from service.users.tables import Role
from tests import servers
from tests.service.running import problem, running, settings_for

pytestmark = pytest.mark.anyio


@contextmanager
def frozen(postgres: servers.Postgres) -> Iterator[None]:
    """Stop the server and every process that serves a connection."""
    served = postgres.sql("SELECT pid FROM pg_stat_activity WHERE datname LIKE 'test_%'")
    pids = [int(pid) for pid in served.split()]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    postgres.pause()
    try:
        yield
    finally:
        postgres.resume()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("state", "passes"),
    [
        ("08006", True),
        ("28P01", True),
        ("3D000", True),
        ("40001", True),
        ("53300", True),  # too many connections
        ("53100", True),  # disk full
        ("55P03", True),
        ("57014", True),
        ("58030", True),
        ("22001", False),
        ("23505", False),
        ("42601", False),
        ("55006", False),
    ],
)
def test_transient_errors_are_distinguished(state: str, passes: bool) -> None:  # noqa: FBT001
    error = Exception("says nothing")
    error.sqlstate = state  # type: ignore[attr-defined]
    assert is_outage(exc.DBAPIError("SELECT 1", (), error)) is passes


@pytest.mark.parametrize(("severity", "passes"), [("FATAL", True), ("ERROR", False)])
def test_connection_ended_by_server_is_transient(severity: str, passes: bool) -> None:  # noqa: FBT001
    fields = {"S": severity, "V": severity, "C": "XX000", "M": "could not write init file"}
    error = asyncpg.PostgresError.new(fields)
    assert is_outage(error) is passes
    wrapped = Exception("says nothing")
    wrapped.sqlstate = "XX000"  # type: ignore[attr-defined]
    wrapped.__cause__ = error
    assert is_outage(exc.DBAPIError("SELECT 1", (), wrapped)) is passes


@pytest.mark.servers
async def test_killed_database_is_503_and_recovers(
    postgres: servers.Postgres, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, postgres.database())
    async with running(settings) as service:
        _, headers = await service.user(Role.ADMIN)
        product = await service.product()
        order = {"items": [{"product_id": product.id, "quantity": 1}]}
        keyed = headers | {"Idempotency-Key": "attempt-1"}
        postgres.sql("CHECKPOINT")  # the test server does not flush by itself
        postgres.kill()
        problem(await service.client.get("/api/users", headers=headers), 503)
        problem(await service.client.post("/api/orders", json=order, headers=keyed), 503)
        ready = await service.client.get("/readyz")
        assert problem(ready, 503)["database"] == "unavailable"
        assert (await service.client.get("/healthz")).status_code == 200
        postgres.start()
        placed = await service.client.post("/api/orders", json=order, headers=keyed)
        if placed.status_code == 503:  # an old connection was still in the pool
            placed = await service.client.post("/api/orders", json=order, headers=keyed)
        assert placed.status_code == 201
        assert await service.stock(product) == 9


@pytest.mark.servers
async def test_a_frozen_database_is_503_in_bounded_time(
    postgres: servers.Postgres, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, postgres.database(), statement_timeout=0.5, connect_timeout=1)
    async with running(settings) as service:
        _, headers = await service.user(Role.ADMIN)
        with frozen(postgres):
            async with asyncio.timeout(20):
                problem(await service.client.get("/api/users", headers=headers), 503)
                assert (await service.client.get("/readyz")).status_code == 503
        answer = await service.client.get("/api/users", headers=headers)
        assert answer.status_code == 200, answer.text


def counting(rows: int) -> TextClause:
    """Return a slow statement, which counts rows."""
    return text(
        "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < :rows) "
        "SELECT count(*) FROM c"
    ).bindparams(rows=rows)


async def test_a_statement_that_runs_too_long_is_503(database_url: str, tmp_path: Path) -> None:
    async with running(settings_for(tmp_path, database_url, statement_timeout=2.0)) as service:

        async def count(database: DatabaseOf) -> None:
            async with database.reading() as session:
                await session.execute(counting(10**12))

        service.app.get("/count")(count)
        async with asyncio.timeout(20):
            problem(await service.client.get("/count"), 503)
        assert (await service.client.get("/api/products")).status_code == 200


async def test_write_timeout_rolls_back(database_url: str, tmp_path: Path) -> None:
    async with running(settings_for(tmp_path, database_url, statement_timeout=2.0)) as service:

        async def write() -> None:
            async with service.database.writing() as session:
                session.add(Product(name="Oak desk", category="office", price_cents=1, stock=1))
                await session.flush()
                await session.execute(counting(10**12))

        with pytest.raises(UnavailableError):
            await write()
        assert (await service.client.get("/api/products")).json()["items"] == []
        await service.product()


async def test_migration_has_no_statement_timeout(database_url: str, tmp_path: Path) -> None:
    database = connect(settings_for(tmp_path, database_url, statement_timeout=0.05))
    async with database.without_timeout() as session:
        assert await session.scalar(counting(1_000_000)) == 1_000_000
    with pytest.raises(UnavailableError):
        async with database.reading() as session:
            await session.execute(counting(10**12))
    await database.close()


@pytest.mark.servers
async def test_an_exhausted_pool_is_an_outage(postgres: servers.Postgres, tmp_path: Path) -> None:
    settings = settings_for(
        tmp_path, postgres.database(), pool_size=1, pool_overflow=0, pool_timeout=0.1
    )
    database = connect(settings)
    async with database.writing() as session:
        await session.execute(text("SELECT 1"))
        with pytest.raises(UnavailableError):
            await database.ping()
    await database.close()


@pytest.mark.servers
@pytest.mark.parametrize(
    ("wrong", "expected"),
    [("database", "nowhere"), ("password", "not the password"), ("port", 1)],
)
async def test_unreachable_address_is_an_outage(
    postgres: servers.Postgres, tmp_path: Path, wrong: str, expected: str | int
) -> None:
    settings = settings_for(tmp_path, postgres.url)
    url = settings.database().set(**{wrong: expected})  # type: ignore[arg-type]
    text_url = url.render_as_string(hide_password=False)
    database = connect(settings.model_copy(update={"database_url": text_url}))
    with pytest.raises(UnavailableError):
        await database.ping()
    await database.close()


async def test_lock_timeout_is_an_outage(tmp_path: Path) -> None:
    database = connect(settings_for(tmp_path))
    impatient = connect(settings_for(tmp_path))

    @event.listens_for(impatient.engine.sync_engine, "connect")
    def wait_briefly(connection: object, _record: object) -> None:
        connection.cursor().execute("PRAGMA busy_timeout=50")  # type: ignore[attr-defined]

    async with database.writing() as session:
        await session.execute(text("CREATE TABLE held (id INTEGER)"))
        with pytest.raises(UnavailableError):
            async with impatient.writing() as other:
                await other.execute(text("SELECT 1"))
    await database.close()
    await impatient.close()


async def test_a_wrong_statement_is_a_defect(database_url: str, tmp_path: Path) -> None:
    database = connect(settings_for(tmp_path, database_url))

    async def ask(session: AsyncSession) -> None:
        await session.execute(text("SELECT nonsense FROM nowhere"))

    with pytest.raises(exc.DBAPIError) as caught:
        async with database.reading() as session:
            await ask(session)
    assert not is_outage(caught.value)
    await database.close()


async def test_errors_do_not_show_values(database_url: str, tmp_path: Path) -> None:
    database = connect(settings_for(tmp_path, database_url))
    with pytest.raises(exc.DBAPIError) as caught:
        async with database.reading() as session:
            await session.execute(text("SELECT :secret FROM nowhere"), {"secret": "hunter2"})
    assert "hunter2" not in str(caught.value)
    await database.close()
