"""Reader: asks a server, part by part, on one connection, and keeps the last answers.

Each part is read in a read-only transaction with time-outs, and waits for no lock. A part that
fails, as for a missing right, leaves the others as they are. A server that does not answer is down,
and then nothing is known of it: no value is shown that is older than half a minute.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
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
from stack.postgres_reader.sample import Sample
from stack.postgres_reader.sessions import Sessions
from stack.postgres_reader.statements import NotInstalledError, Statements
from vitals.redaction.secret_patterns import redact_patterns

INTERVAL = 5.0
"""Seconds between two readings."""
STALE = 30.0
"""Seconds after the last reading from which on the server is down."""
TIMEOUT = 15.0
"""Seconds for one reading with its connect."""
CLOSE_TIMEOUT = 2.0
APPLICATION_NAME = "vitals reader"
CONNECT = "connect"
"""The part that is counted where there is no connection."""

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
        self._where = f"{url.host}:{url.port or 5432}/{url.database}"
        self._report = report
        self._parts = parts()
        self._connection: AsyncConnection | None = None
        self._lock = Lock()
        self._samples: dict[str, list[Sample]] = {}
        self._failures = dict.fromkeys([CONNECT, *(part.name for part in self._parts)], 0)
        self._failing: dict[str, str] = {}
        self._read_at = float("-inf")
        self._seconds = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Read until it is stopped."""
        while not stop.is_set():
            await self.read()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), INTERVAL)
        await self._close()
        await self._engine.dispose()

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
            self._fail(CONNECT, error)
            for part in self._parts:
                part.due = 0.0
            await self._close()
            return
        self._succeed(CONNECT)
        with self._lock:
            self._read_at, self._seconds = monotonic(), monotonic() - started

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
            self._fail(part.name, error)
            with self._lock:
                self._samples.pop(part.name, None)
            return
        await connection.rollback()
        self._succeed(part.name)
        with self._lock:
            self._samples[part.name] = samples

    def samples(self) -> list[Sample]:
        """What is known now."""
        with self._lock:
            up = monotonic() - self._read_at < STALE
            found = [Sample(PG_UP, (), float(up))]
            found += [
                Sample(PG_READ_FAILURES, (name,), count) for name, count in self._failures.items()
            ]
            if not up:
                return found
            found.append(Sample(PG_READ_SECONDS, (), self._seconds))
            for part in self._parts:
                found.append(Sample(PG_PART_READ, (part.name,), float(part.name in self._samples)))
                found += self._samples.get(part.name, [])
        return found

    def _fail(self, name: str, error: Exception) -> None:
        text_ = redact_patterns(f"{type(error).__name__}: {_first_line(error)}")
        with self._lock:
            self._failures[name] += 1
        if self._failing.get(name) != text_:
            self._failing[name] = text_
            self._report(f"cannot read {name} of PostgreSQL at {self._where}: {text_}")

    def _succeed(self, name: str) -> None:
        if self._failing.pop(name, None):
            self._report(f"reads {name} of PostgreSQL at {self._where} again")

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await connection.close()


def _first_line(error: Exception) -> str:
    """The driver's message, without the statement."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0][:300] if lines else ""
