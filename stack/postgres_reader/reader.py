"""Reader: asks a server, part by part, on one connection, and keeps the last answers.

Each part is read in a read-only transaction with time-outs, and waits for no lock. A part that
fails, as for a missing right, leaves the others as they are. A server that does not answer is down,
and then nothing is known of it: no value is shown that is older than half a minute.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from rules.postgres_metrics import (
    PG_PART_READ,
    PG_READ_FAILURES,
    PG_READ_SECONDS,
    PG_UP,
)
from stack.postgres_reader import databases, replication, server
from stack.postgres_reader.sessions import Sessions
from stack.postgres_reader.statements import NotInstalledError, Statements
from stack.readings.readings import INTERVAL, ReadingMetrics, Readings
from stack.readings.sample import Sample

TIMEOUT = 15.0
"""Seconds for one reading with its connect."""
CLOSE_TIMEOUT = 2.0
APPLICATION_NAME = "vitals reader"

_SETTINGS = text(
    """
    SELECT set_config('transaction_read_only', 'on', true),
           set_config('statement_timeout', '3s', true),
           set_config('lock_timeout', '100ms', true),
           set_config('idle_in_transaction_session_timeout', '30s', true),
           set_config('jit', 'off', true)
    """
)


@dataclass
class Part:
    """A part of what is read.

    Attributes:
        name: Its name in metrics.
        read: Reads it, in a transaction of its own.
        interval: Seconds between two readings.
        due: When it is read next, by the monotonic clock.
    """

    name: str
    read: Callable[[Connection], Iterable[Sample]]
    interval: float = INTERVAL
    due: float = 0.0


def parts() -> list[Part]:
    """All parts of one server."""
    sessions = Sessions()
    return [
        Part("server", server.read_info, 30.0),
        Part("sessions", sessions.read),
        Part("locks", sessions.read_locks),
        Part("databases", databases.Databases().read, 10.0),
        Part("replication", replication.read_replication),
        Part("writing", replication.Writing().read, 10.0),
        Part("vacuum", databases.read_vacuum, 10.0),
        Part("statements", Statements().read, 30.0),
        Part("sizes", databases.read_sizes, 30.0),
        Part("tables", databases.read_tables, 30.0),
    ]


class Reader:
    """Reads one server.

    Args:
        url: Of the database to connect to, for asyncpg.
        report: Called with a line when reading begins to fail, and when it succeeds again.
    """

    def __init__(self, url: URL, report: Callable[[str], None]) -> None:
        self._engine = create_async_engine(
            url,
            poolclass=NullPool,
            hide_parameters=True,
            connect_args={
                "timeout": 5,
                "command_timeout": 5,
                "statement_cache_size": 0,  # a pooler may hand on another session each time
                "prepared_statement_cache_size": 0,
                "prepared_statement_name_func": lambda: "",
                "server_settings": {"application_name": APPLICATION_NAME},
            },
        )
        self._parts = parts()
        self._readings = Readings(
            ReadingMetrics(PG_UP, PG_READ_SECONDS, PG_READ_FAILURES, PG_PART_READ),
            [part.name for part in self._parts],
            f"PostgreSQL at {url.host}:{url.port or 5432}/{url.database}",
            report,
        )
        self._connection: AsyncConnection | None = None

    async def read(self) -> None:
        """Read what is due; never raises."""
        started = monotonic()
        try:
            async with asyncio.timeout(TIMEOUT):
                if self._connection is None:
                    self._connection = await self._engine.connect()
                for part in self._parts:
                    if started >= part.due:
                        await self._read_part(self._connection, part)
                        part.due = started + part.interval
        except Exception as error:  # noqa: BLE001  # whatever it is, the server is not read
            self._readings.disconnect(error)
            for part in self._parts:
                part.due = 0.0
            await self._close()
            return
        self._readings.end(started)

    async def _read_part(self, connection: AsyncConnection, part: Part) -> None:
        def query(connection: Connection) -> list[Sample]:
            connection.execute(_SETTINGS)
            return list(part.read(connection))

        try:
            samples = await connection.run_sync(query)
        except (DBAPIError, NotInstalledError) as error:
            if isinstance(error, DBAPIError) and error.connection_invalidated:
                raise
            await connection.rollback()
            self._readings.lose(part.name, error)
            return
        await connection.rollback()
        self._readings.keep(part.name, samples)

    def samples(self) -> list[Sample]:
        """What is known now."""
        return self._readings.samples()

    async def close(self) -> None:
        """Close its connection."""
        await self._close()
        await self._engine.dispose()

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await connection.close()
