"""SQLite engine: WAL mode, read-only by default, with a statement timeout."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

PROGRESS_STEPS = 10_000
"""Virtual machine steps between two timeout checks: a fraction of a millisecond."""
BUSY_SECONDS = 5.0
"""Busy timeout: how long to wait for another connection's lock."""
PRAGMAS = (
    "synchronous=NORMAL",
    "foreign_keys=ON",
    "query_only=ON",  # until a write transaction begins
)
BEGIN = "BEGIN IMMEDIATE"


class StatementTimeout:
    """Statement timeout in seconds, shared by all connections of an engine."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    @contextmanager
    def unlimited(self) -> Iterator[None]:
        """Lift the timeout for statements that start in the block."""
        seconds, self.seconds = self.seconds, float("inf")
        try:
            yield
        finally:
            self.seconds = seconds


class _Cursor(sqlite3.Cursor):
    """Cursor that allows writes from BEGIN IMMEDIATE on.

    Done here, in the driver's thread: a separate statement would cost as much as a read.
    """

    connection: "_Connection"

    def execute(self, sql: str, *values: Any) -> "_Cursor":
        """Execute a statement."""
        if sql == BEGIN:
            super().execute("PRAGMA query_only=OFF")
            self.connection.writing = True
        return super().execute(sql, *values)


class _Connection(sqlite3.Connection):
    """Connection that writes in transactions only, and interrupts statements after a timeout.

    SQLite itself has no statement timeout.
    """

    def __init__(
        self, statement_timeout: StatementTimeout, *arguments: Any, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._statement_timeout = statement_timeout
        self._until = float("inf")
        self.writing = False
        self.set_progress_handler(self._is_timed_out, PROGRESS_STEPS)
        self._write_ahead()
        for pragma in PRAGMAS:
            self.execute(f"PRAGMA {pragma}")

    def _write_ahead(self) -> None:
        """Switch the file to WAL mode, which is persistent.

        Of two connections that do this at once, one fails at once, whatever its busy timeout
        (https://sqlite.org/c3ref/busy_handler.html): it would be a deadlock.
        """
        until = monotonic() + BUSY_SECONDS
        while True:
            try:
                self.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as refused:
                kind = refused.sqlite_errorcode & 0xFF  # without the extended code
                if kind != sqlite3.SQLITE_BUSY or monotonic() > until:
                    raise
                sleep(0.01)
            else:
                return

    def cursor(self, *_arguments: Any) -> Any:
        """Return a cursor for one statement, and start its timeout."""
        self._until = monotonic() + self._statement_timeout.seconds
        return super().cursor(_Cursor)

    def commit(self) -> None:
        """End a transaction."""
        super().commit()
        self._set_query_only()

    def rollback(self) -> None:
        """End a transaction, and undo what it wrote."""
        super().rollback()
        self._set_query_only()

    def _set_query_only(self) -> None:
        if self.writing:
            super().cursor().execute("PRAGMA query_only=ON")
            self.writing = False

    def _is_timed_out(self) -> bool:
        return monotonic() > self._until


def _is_outside_transactions(connection: Any) -> bool:
    try:
        return not connection.driver_connection.in_transaction
    except ValueError:  # it is closed
        return True


def engine(url: URL, statement_timeout: StatementTimeout) -> AsyncEngine:
    """Build an engine on a file, readable by its owner only, or in memory."""
    if url.database and url.database != ":memory:":
        file = Path(url.database)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)  # it holds password hashes; SQLite's other files inherit the mode

    def opened(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return _Connection(statement_timeout, *arguments, **options)

    made = create_async_engine(
        url,
        hide_parameters=True,
        # The driver must not begin transactions implicitly: that would be too late.
        connect_args={"factory": opened, "isolation_level": None, "timeout": BUSY_SECONDS},
        skip_autocommit_rollback=True,
    )
    # Each driver call switches threads twice; after reads there is nothing to roll back.
    dialect: Any = made.sync_engine.dialect
    dialect.detect_autocommit_setting = _is_outside_transactions

    @event.listens_for(made.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # Writers lock from the start: a transaction that reads and then writes would fail at once
        # if another one wrote in between.
        if "writing" in connection.get_execution_options():
            connection.exec_driver_sql(BEGIN)

    return made
