"""Schema migrations: upgrades the database to the newest Alembic revision."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from service.db.database import Database

_LOCK = 7_263_518_409  # any number unique among advisory locks


def configuration(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration, without an ini file; it migrates on ``connection``."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parents[1] / "migrations"))
    config.attributes["connection"] = connection
    return config


async def migrate(database: Database) -> None:
    """Apply the missing revisions, all or none.

    Several workers may start together: one migrates while the others wait.

    Raises:
        UnavailableError: The database does not answer.
    """
    async with database.without_timeout() as session:
        if database.engine.dialect.name == "postgresql":
            await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        connection = await session.connection()
        await connection.run_sync(lambda sync: command.upgrade(configuration(sync), "head"))
