"""Fixtures: the service on each supported database."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, make_url

from service.db.database import connect
from service.db.migrate import migrate
from service.settings import Settings
from tests import servers
from tests.service.running import Service, running, settings_for


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/service.db"
    server: servers.Postgres = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return settings_for(tmp_path, database_url)


@pytest.fixture(scope="session")
def empty_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file without rows, to be copied: migrations take longer than most tests."""
    settings = settings_for(tmp_path_factory.mktemp("template"))

    async def make() -> None:
        database = connect(settings)
        await migrate(database)
        await database.close()

    asyncio.run(make())
    return sqlite_file(settings)


def sqlite_file(settings: Settings) -> Path:
    return Path(make_url(settings.database_url).database or "")


@pytest.fixture
async def service(settings: Settings, empty_tables: Path) -> AsyncIterator[Service]:
    """The running service with an empty database."""
    if settings.database_url.startswith("sqlite"):
        shutil.copy(empty_tables, sqlite_file(settings))
    async with running(settings) as started:
        yield started


@pytest.fixture
async def light(tmp_path: Path, empty_tables: Path) -> AsyncIterator[Service]:
    """The running service on SQLite, where the kind of database does not matter."""
    settings = settings_for(tmp_path)
    shutil.copy(empty_tables, sqlite_file(settings))
    async with running(settings) as started:
        yield started


@pytest.fixture
def statements(service: Service) -> Iterator[list[str]]:
    """The SQL statements that the service executes from here on."""
    seen: list[str] = []
    engine = service.database.engine.sync_engine

    def see(_connection: object, _cursor: object, statement: str, *_others: object) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", see)
    yield seen
    event.remove(engine, "before_cursor_execute", see)
