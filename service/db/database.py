"""Database access: engine, read and write sessions, and translation of outages.

Reads run in autocommit (no BEGIN and COMMIT around one SELECT), where the database refuses writes.
Writes run in one transaction that commits once, when the ``async with`` ends. Nothing else
commits.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy import BigInteger, DateTime, Dialect, Integer, MetaData, Row, Select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column
from sqlalchemy.types import TypeDecorator
from sqlalchemy.util import greenlet_spawn

from service.db import postgresql, sqlite
from service.db.driver_errors import is_outage
from service.errors import UnavailableError
from service.settings import Settings

_log = logging.getLogger(__name__)


def now() -> datetime:
    """Return the current time in UTC, with microseconds."""
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """Column type of timezone-aware datetimes; SQLite, which has no time zones, stores UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @property
    def python_type(self) -> type[datetime]:
        """Type to decode from a page cursor."""
        return datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Convert to UTC, so that SQLite's text sorts by time."""
        return value if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Return an aware datetime."""
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


# SQLite auto-increments only a column of the exact type INTEGER.
Id = Annotated[int, mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)]


class Base(DeclarativeBase):
    """Declarative base of all slices' tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime}  # noqa: RUF012 - SQLAlchemy reads it once


# Writing is opt-in, so that reads need no option, which would cost each of them: PostgreSQL's
# driver begins transactions by isolation level, SQLite's by our own listener.
_WRITING: dict[str, dict[str, Any]] = {
    "postgresql": {"isolation_level": "READ COMMITTED"},
    "sqlite": {"writing": True},
}


class _OutageTranslation(AbstractContextManager[None]):
    """Context manager that raises an outage as `UnavailableError`."""

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, _kind: object, error: BaseException | None, _where: object) -> None:
        """Translate the exception."""
        if isinstance(error, Exception) and is_outage(error):
            # The driver's message may name hosts and roles: it is logged, not sent to the client.
            _log.warning("database unavailable (%s: %s)", type(error).__name__, error)
            raise UnavailableError("The database does not answer: try again shortly.") from error


_TRANSLATE_OUTAGES = _OutageTranslation()


class Database:
    """Engine and session factories.

    Attributes:
        engine: For reads, in autocommit.
        writer: The same with transactions, for writes.
        listener: For LISTEN; None if ``engine`` serves for that too.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        statement_timeout: sqlite.StatementTimeout | None = None,
        listener: AsyncEngine | None = None,
    ) -> None:
        self.engine = engine
        self.listener = listener
        self.writer = engine.execution_options(**_WRITING[engine.dialect.name])
        self._statement_timeout = statement_timeout
        # A class per database: event listeners must not see other databases' sessions.
        self.session_class = type("WritingSession", (Session,), {})

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Open a read-only session: a write fails.

        Raises:
            UnavailableError: The database does not answer.
        """
        session = AsyncSession(self.engine, expire_on_commit=False, autoflush=False)
        with _TRANSLATE_OUTAGES:
            async with session:
                yield session

    async def row(self, statement: Select[Any], **values: object) -> Row[Any] | None:
        """Return the first row of a statement, without a session: in half of the time.

        If the connection is lost meanwhile, the read is retried once on another one.

        Args:
            statement: Built once, with bind parameters.
            values: Of the parameters, by name.

        Raises:
            UnavailableError: The database does not answer.
        """
        with _TRANSLATE_OUTAGES:
            return await greenlet_spawn(self._row, statement, values)

    def _row(self, statement: Select[Any], values: dict[str, object]) -> Row[Any] | None:
        try:
            return self._first(statement, values)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            return self._first(statement, values)  # a read, on another connection

    def _first(self, statement: Select[Any], values: dict[str, object]) -> Row[Any] | None:
        with self.engine.sync_engine.connect() as connection:
            return connection.execute(statement, values).first()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        """Open a session in a transaction: committed at the end, rolled back by any exception.

        Raises:
            UnavailableError: The database does not answer, or fails with a transient error.
        """
        session = AsyncSession(
            self.writer, sync_session_class=self.session_class, expire_on_commit=False
        )
        with _TRANSLATE_OUTAGES:
            async with session, session.begin():
                yield session

    @asynccontextmanager
    async def without_timeout(self) -> AsyncIterator[AsyncSession]:
        """Open a write session without statement timeout.

        For migrations: an index on a large table takes longer than a request may.

        Raises:
            UnavailableError: The database does not answer, or fails with a transient error.
        """
        with self._statement_timeout.unlimited() if self._statement_timeout else nullcontext():
            async with self.writing() as session:
                if self._statement_timeout is None:
                    await session.execute(text("SET LOCAL statement_timeout = 0"))
                yield session

    @staticmethod
    def translating_outages() -> AbstractContextManager[None]:
        """Raise an outage as `UnavailableError` until the block ends."""
        return _TRANSLATE_OUTAGES

    async def ping(self) -> None:
        """Check that the database answers.

        Raises:
            UnavailableError: It does not.
        """
        async with self.reading() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()
        if self.listener is not None:
            await self.listener.dispose()


def connect(settings: Settings) -> Database:
    """Build the engine; the first use connects."""
    url = settings.database()
    if url.get_backend_name() == "sqlite":
        statement_timeout = sqlite.StatementTimeout(settings.statement_timeout)
        return Database(sqlite.engine(url, statement_timeout), statement_timeout)
    direct = settings.direct_database()
    listener = None if direct is None else postgresql.unpooled_engine(direct, settings)
    return Database(postgresql.engine(url, settings), listener=listener)


# Async although it awaits nothing: FastAPI runs plain functions in a thread, 0.1 ms each.
async def _of(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


DatabaseOf = Annotated[Database, Depends(_of)]
"""The database of the app that handles the request; endpoints depend on this type."""
