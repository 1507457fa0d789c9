"""PostgreSQL engine: direct or through a connection pooler, with timeouts.

A pooler in transaction mode, such as PgBouncer, assigns a server session for one transaction.
Session state (settings, prepared statements, LISTEN) is lost there, or leaks to another client.
Behind a pooler, statements are therefore unnamed, and each transaction begins with its settings;
reads run in read-only transactions there, and in autocommit on direct connections.
"""

import logging
from typing import Any

import asyncpg
from sqlalchemy import NullPool, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import URL
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from service.settings import Settings

_log = logging.getLogger(__name__)

DRIVER = "postgresql+asyncpg_service"
"""The name of this module's dialect in a URL."""
IDLE_SECONDS = 30
"""Timeout of an idle transaction."""


class SessionConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection with a server session of its own.

    Statements outside of a transaction are read-only by the session's default, which costs no round
    trip.

    Attributes:
        keeps_session: Distinguishes the two kinds; asyncpg's ``isinstance`` is true for every
            connection.
    """

    keeps_session = True

    async def execute(self, query: str, *values: Any, **options: Any) -> str:
        """Execute a statement; BEGIN starts a read-write transaction."""
        if query.startswith("BEGIN") and "READ ONLY" not in query:
            query = query.replace("BEGIN", "BEGIN READ WRITE", 1)
        status: str = await super().execute(query, *values, **options)
        return status


class PooledConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection to a pooler, which may use another server session for each transaction."""

    keeps_session = False
    limits = ""
    """Statements that follow each BEGIN."""

    async def execute(self, query: str, *values: Any, **options: Any) -> str:
        """Execute a statement; BEGIN also sets the transaction's limits."""
        if query.startswith("BEGIN"):
            query = f"{query.rstrip(';')}; {self.limits}"
        status: str = await super().execute(query, *values, **options)
        return status


class Dialect(PGDialect_asyncpg):
    """SQLAlchemy's asyncpg dialect with support for poolers and schema changes."""

    supports_statement_cache = True

    def on_connect(self) -> Any:
        """Prepare a new connection: behind a pooler no prepared statement is kept."""
        prepare = super().on_connect()  # type: ignore[no-untyped-call]

        def connect(connection: Any) -> None:
            if not connection.driver_connection.keeps_session:
                connection._prepared_statement_cache = None  # noqa: SLF001  # no other way per connection
            prepare(connection)

        return connect

    def set_isolation_level(self, dbapi_connection: Any, level: Any) -> None:
        """Set the isolation level; behind a pooler, autocommit becomes a read-only transaction."""
        if not dbapi_connection.driver_connection.keeps_session:
            dbapi_connection.readonly = level == "AUTOCOMMIT"
            level = "READ COMMITTED" if level == "AUTOCOMMIT" else level
        super().set_isolation_level(dbapi_connection, level)  # type: ignore[no-untyped-call]

    def do_execute(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        """Execute a statement; a read that fails after a schema change is retried once.

        In a transaction, which the failure has aborted, the error is raised.
        """
        try:
            cursor.execute(statement, parameters)
        except self.dbapi.Error as error:  # type: ignore[union-attr]
            driver = context and context.root_connection.connection.driver_connection
            if not driver or driver.is_in_transaction() or not self._is_stale(error):
                raise
            self._invalidate_schema_cache()  # type: ignore[no-untyped-call]
            context.pre_exec()  # makes the cursor prepare the statement again
            cursor.execute(statement, parameters)

    def _is_stale(self, error: Any) -> bool:
        dbapi: Any = self.dbapi
        stale = dbapi.InvalidCachedStatementError, dbapi.InternalServerError
        return isinstance(error, stale) or is_stale(error.__cause__)


registry.register(DRIVER.replace("+", "."), __name__, Dialect.__name__)


def is_stale(error: BaseException | None) -> bool:
    """Return whether an asyncpg error means that a schema change invalidated the statement."""
    return isinstance(
        error,
        asyncpg.InvalidCachedStatementError
        | asyncpg.OutdatedSchemaCacheError
        | asyncpg.InvalidSQLStatementNameError,
    )


class _Connector:
    """Connects, and detects a pooler.

    Once it has detected one, all later connections are made for a pooler; that works for direct
    connections too, only slower.
    """

    def __init__(self, settings: Settings) -> None:
        milliseconds = int(settings.statement_timeout * 1000)
        self._pooled = False
        self._limits = {
            "statement_timeout": str(milliseconds),
            "lock_timeout": str(milliseconds),
            "idle_in_transaction_session_timeout": str(IDLE_SECONDS * 1000),
            "jit": "off",  # costs more than any query of this service
        }
        self._arguments = {
            "timeout": settings.connect_timeout,
            # The server's timeout comes first and has a reason; ours is for a frozen server.
            "command_timeout": settings.statement_timeout + 2,
        }

    async def __call__(self, **arguments: Any) -> asyncpg.Connection:
        arguments |= self._arguments
        if not self._pooled:
            connection = await self._directly(arguments)
            if connection is not None:
                return connection
            self._pooled = True
            _log.warning(
                "connection pooler detected: prepared statements off, limits set in each "
                "transaction; LISTEN needs SERVICE_DATABASE_DIRECT_URL, else the outbox is polled"
            )
        connection = await asyncpg.connect(
            **arguments | {"statement_cache_size": 0},
            connection_class=PooledConnection,
            server_settings={"application_name": "service"},
        )
        connection.limits = " ".join(
            f"SET LOCAL {name} = '{value}';" for name, value in self._limits.items()
        )
        return connection

    async def _directly(self, arguments: dict[str, Any]) -> asyncpg.Connection | None:
        """Open a direct connection; return None if there is a pooler."""
        settings = {"application_name": "service", "default_transaction_read_only": "on"}
        try:
            connection: asyncpg.Connection = await asyncpg.connect(
                **arguments,
                connection_class=SessionConnection,
                server_settings=settings | self._limits,
            )
        except asyncpg.ProtocolViolationError as error:
            if "startup parameter" in str(error):  # PgBouncer refuses those it does not track
                return None
            raise
        # A pooler sends a pid of its own. The query uses no prepared statement; its result is the
        # command status, which is all that a simple query returns.
        number = connection.get_server_pid()
        if await connection.execute(f"SELECT WHERE pg_backend_pid() = {number}") == "SELECT 1":
            return connection
        await connection.close()
        return None


def engine(url: URL, settings: Settings) -> AsyncEngine:
    """Build an engine; the first use connects.

    ``hide_parameters`` keeps values, such as password hashes, out of error messages and logs.
    """
    made = create_async_engine(
        url.set(drivername=DRIVER),
        hide_parameters=True,
        isolation_level="AUTOCOMMIT",
        pool_size=settings.pool_size,
        max_overflow=settings.pool_overflow,
        pool_timeout=settings.pool_timeout,
        pool_use_lifo=True,  # lets connections from a peak become idle
        pool_recycle=1800,
        connect_args={"async_creator_fn": _Connector(settings)},
    )
    event.listen(made.sync_engine, "checkout", _replace_closed)
    return made


def unpooled_engine(url: URL, settings: Settings) -> AsyncEngine:
    """Build an engine without a pool, for connections that are kept outside of one."""
    return create_async_engine(
        url.set(drivername=DRIVER),
        hide_parameters=True,
        isolation_level="AUTOCOMMIT",
        poolclass=NullPool,
        connect_args={"async_creator_fn": _Connector(settings)},
    )


def _replace_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Let the pool replace a connection that the server has closed."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError("connection closed by server")
