"""Check at start: does PostgreSQL allow as many connections as all processes may open?"""

import logging
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.db.database import Database
from service.errors import ServiceError
from service.settings import Settings

_log = logging.getLogger(__name__)

BESIDE_POOL = 2
"""Connections of a process that are in no pool: for LISTEN, and for EXPLAIN or locks."""

_QUERY = text("""
SELECT current_setting('max_connections')::int AS most,
    current_setting('superuser_reserved_connections')::int
        + coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved,
    rolconnlimit AS of_role, datconnlimit AS of_database,
    (SELECT count(*) FROM pg_stat_activity WHERE usename <> current_user) AS others
FROM pg_roles, pg_database
WHERE rolname = current_user AND datname = current_database()
""")


class TooManyConnectionsError(ServiceError):
    """The processes may open more connections than the database allows."""


class PoolerError(ServiceError):
    """SERVICE_DATABASE_DIRECT_URL leads to a pooler: name PostgreSQL's own host and port."""


@dataclass(frozen=True)
class Limit:
    """What a server allows.

    Attributes:
        most: ``max_connections``.
        reserved: Those of them that only superusers and their like may use.
        of_role: Limit of the role; -1 without.
        of_database: Limit of the database; -1 without.
        others: Connections that other roles have now.
    """

    most: int
    reserved: int
    of_role: int
    of_database: int
    others: int

    @property
    def allowed(self) -> int:
        """Connections that the service may have."""
        limits = (self.most - self.reserved, self.of_role, self.of_database)
        return min(limit for limit in limits if limit >= 0)


async def check(database: Database, settings: Settings) -> None:
    """Compare the connections of all workers on all hosts with the server's limit.

    Behind a pooler, which shares few connections between many clients, only those of
    `SERVICE_DATABASE_DIRECT_URL` count.

    Raises:
        TooManyConnectionsError: There may be more than the server allows.
        PoolerError: The direct URL leads to a pooler.
        UnavailableError: The database does not answer.
    """
    if database.engine.dialect.name != "postgresql":
        return
    of_process = settings.pool_size + settings.pool_overflow + BESIDE_POOL
    with database.translating_outages():
        limit = await _limit(database.engine)
        if limit is None:
            if database.listener is None:
                return
            limit, of_process = await _limit(database.listener), 1
    if limit is None:
        raise PoolerError
    compare(settings, of_process, limit)


def compare(settings: Settings, of_process: int, limit: Limit) -> None:
    """Compare; other roles' connections, which may end, are worth a warning.

    Raises:
        TooManyConnectionsError: There may be more than the server allows.
    """
    processes = settings.instances * settings.workers
    needed = processes * of_process
    if needed > limit.allowed:
        fitting = limit.allowed // processes - of_process + settings.pool_size
        smaller = f"set SERVICE_POOL_SIZE={fitting} or " if fitting >= 1 else ""
        raise TooManyConnectionsError(
            f"{settings.instances} instances x {settings.workers} workers x {of_process} "
            f"connections = {needed}, and PostgreSQL allows {limit.allowed} (max_connections "
            f"{limit.most}, {limit.reserved} of them reserved, limit of the role {limit.of_role}, "
            f"of the database {limit.of_database}; -1 is none): {smaller}start fewer workers, "
            "raise max_connections, or put a pooler in between"
        )
    if needed + limit.others > limit.allowed:
        _log.warning(
            "up to %d connections to PostgreSQL, which allows %d, and other roles have %d now: at "
            "a peak some requests will get 503",
            needed,
            limit.allowed,
            limit.others,
        )


async def _limit(engine: AsyncEngine) -> Limit | None:
    """Read the server's limit; None through a pooler."""
    async with engine.connect() as connection:
        if not await _is_session(connection):
            return None
        row = (await connection.execute(_QUERY)).one()
        return Limit(*row)


async def _is_session(connection: AsyncConnection) -> bool:
    raw = await connection.get_raw_connection()
    return bool(raw.driver_connection.keeps_session)  # type: ignore[union-attr]
