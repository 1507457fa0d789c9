import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.command import downgrade
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from service.db import sqlite
from service.db.database import Base, connect
from service.db.migrate import configuration, migrate
from service.errors import UnavailableError
from tests.service.running import settings_for
from vitals.db.indexes import index_audit

pytestmark = pytest.mark.anyio


async def test_the_revisions_build_what_the_tables_declare(
    database_url: str, tmp_path: Path
) -> None:
    database = connect(settings_for(tmp_path, database_url))
    await migrate(database)

    def difference(connection: Connection) -> object:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, Base.metadata)

    async with database.writing() as session:
        assert await (await session.connection()).run_sync(difference) == []
    await database.close()


async def test_workers_that_start_together_migrate_once(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "alembic.runtime.migration")
    workers = [connect(settings_for(tmp_path, database_url)) for _ in range(4)]
    await asyncio.gather(*(migrate(worker) for worker in workers))
    upgrades = [said for said in caplog.messages if said.startswith("Running upgrade")]
    assert len(upgrades) == len(set(upgrades)) > 1
    await asyncio.gather(*(worker.close() for worker in workers))


@pytest.fixture
def held(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Writes to a file that is not in WAL mode yet, as another worker that opens it might."""
    with closing(sqlite3.connect(tmp_path / "held.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


async def test_locked_new_database_file_is_waited_for(
    held: sqlite3.Connection, tmp_path: Path
) -> None:
    database = connect(settings_for(tmp_path, f"sqlite+aiosqlite:///{tmp_path}/held.db"))
    asyncio.get_running_loop().call_later(0.3, held.execute, "COMMIT")
    await migrate(database)
    async with database.reading() as session:
        assert await session.scalar(text("PRAGMA journal_mode")) == "wal"
    await database.close()


async def test_wait_for_locked_database_file_is_bounded(
    held: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.1)
    database = connect(settings_for(tmp_path, f"sqlite+aiosqlite:///{tmp_path}/held.db"))
    with pytest.raises(UnavailableError):
        await migrate(database)
    held.execute("COMMIT")
    await migrate(database)
    await database.close()


async def test_downgrade_leaves_no_tables(database_url: str, tmp_path: Path) -> None:
    database = connect(settings_for(tmp_path, database_url))
    await migrate(database)
    async with database.writing() as session:
        connection = await session.connection()
        await connection.run_sync(lambda sync: downgrade(configuration(sync), "base"))
        tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    assert tables == ["alembic_version"]
    await migrate(database)
    await database.close()


async def test_no_missing_or_duplicate_index(tmp_path: Path, database_url: str) -> None:
    database = connect(settings_for(tmp_path, database_url))
    await migrate(database)
    async with database.writer.connect() as connection:
        found = await connection.run_sync(index_audit.read)
    await database.close()
    # In an empty database no index is used, and nothing was counted for long.
    allowed = {index_audit.UNUSED, index_audit.UNKNOWN}
    assert [one for one in found if one.kind not in allowed] == []
