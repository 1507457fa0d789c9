"""What the command line asks a database: indexes to make or drop, and who blocks whom."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, NullPool, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from vitals.db.indexes import index_audit, postgresql_advisor, sqlite_advisor
from vitals.db.locks import lock_waits, sqlite_locks

STATEMENT_TIMEOUT = "10s"

Read = Callable[[Connection], list[Any]]


class DatabaseCommandError(Exception):
    """The database cannot be asked; the message says what to do."""


def run(name: str, url: str, *, password: str | None = None, sql: str = "") -> list[Any]:
    """Run one command, which changes nothing in the database.

    Args:
        name: ``advise``, ``indexes`` or ``locks``.
        url: The URL of the database, with an async driver.
        password: Used instead of the URL's.
        sql: The statement to advise on.

    Returns:
        Dataclasses of the findings.

    Raises:
        DatabaseCommandError: The URL, the driver or the database does not work.
    """
    reads: dict[str, Read] = {
        "advise": partial(_advise, sql),
        "indexes": index_audit.read,
        "locks": lock_waits.read,
    }
    try:
        address = make_url(url)
        if password is not None:
            address = address.set(password=password)
        if name == "locks" and address.get_backend_name() == "sqlite":
            return sqlite_locks.read(_file(address))
        return asyncio.run(_run(address, reads[name]))
    except ArgumentError as error:
        raise DatabaseCommandError(
            "--database is not a URL such as sqlite+aiosqlite:///shop.db"
        ) from error
    except ModuleNotFoundError as error:
        raise DatabaseCommandError(f"driver not installed: pip install {error.name}") from error
    except DBAPIError as error:  # its own text has the whole query
        said = str(error.orig).partition(">: ")[2] or str(error.orig)
        hint = "; does it wait for a lock? vitals locks says" if "statement timeout" in said else ""
        raise DatabaseCommandError(f"database query failed: {said}{hint}") from error
    except (SQLAlchemyError, OSError, ValueError) as error:
        raise DatabaseCommandError(f"database query failed: {error}") from error


def _file(url: URL) -> Path:
    if url.database in {None, "", ":memory:"}:
        raise ValueError("a database in memory has one process only: name a file")
    return Path(str(url.database))


def _advise(sql: str, connection: Connection) -> list[Any]:
    if connection.dialect.name == "sqlite":
        return [sqlite_advisor.advise(connection, sql)]
    try:
        return [postgresql_advisor.advise(connection, sql)]
    except postgresql_advisor.NoHypoPGError as error:
        advice = postgresql_advisor.advise_without_trial(connection, sql)
        return [replace(advice, notes=[*advice.notes, str(error)])]


async def _run(url: URL, read: Read) -> list[Any]:
    engine = create_async_engine(url, hide_parameters=True, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            if url.get_backend_name() == "postgresql":
                await connection.execute(text("SET TRANSACTION READ ONLY"))
                await connection.execute(
                    text(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'")
                )
            return await connection.run_sync(read)
    finally:
        await engine.dispose()
