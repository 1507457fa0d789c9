"""SQLite: how it is opened, who may write, and how long one of its statements may run."""

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
"""Of SQLite's machine between two looks at the clock: a fraction of a millisecond."""
BUSY_SECONDS = 5.0
"""Seconds to wait for another's lock."""
PRAGMAS = (
    "synchronous=NORMAL",
    "foreign_keys=ON",
    "query_only=ON",  # until a transaction begins that means to write
)
BEGIN = "BEGIN IMMEDIATE"


class StatementTimeout:
    """How many seconds a statement may run, on all connections of an engine."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    @contextmanager
    def unlimited(self) -> Iterator[None]:
        """Wait for every statement that begins while this is entered."""
        seconds, self.seconds = self.seconds, float("inf")
        try:
            yield
        finally:
            self.seconds = seconds


class _Cursor(sqlite3.Cursor):
    """Lets its connection write from the beginning of a transaction on.

    Here, where the driver's thread is already: a statement of its own would cost as much as a read.
    """

    connection: "_Connection"

    def execute(self, sql: str, *values: Any) -> "_Cursor":
        """Execute a statement."""
        if sql == BEGIN:
            super().execute("PRAGMA query_only=OFF")
            self.connection.writing = True
        return super().execute(sql, *values)


class _Connection(sqlite3.Connection):
    """Writes in transactions only, and interrupts a statement that runs too long.

    SQLite itself has no such limit.
    """

    def __init__(self, timeout: StatementTimeout, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._timeout = timeout
        self._until = float("inf")
        self.writing = False
        self.set_progress_handler(self._is_timed_out, PROGRESS_STEPS)
        self._write_ahead()
        for pragma in PRAGMAS:
            self.execute(f"PRAGMA {pragma}")

    def _write_ahead(self) -> None:
        """Switch the file to WAL, which it then stays in.

        Whoever meets another at this is refused at once, however long it is ready to wait
        (https://sqlite.org/c3ref/busy_handler.html): each would wait for the other.
        """
        until = monotonic() + BUSY_SECONDS
        while True:
            try:
                self.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as refused:
                kind = refused.sqlite_errorcode & 0xFF  # the rest is a finer one
                if kind != sqlite3.SQLITE_BUSY or monotonic() > until:
                    raise
                sleep(0.01)
            else:
                return

    def cursor(self, *_arguments: Any) -> Any:
        """A cursor for one statement, whose time begins now."""
        self._until = monotonic() + self._timeout.seconds
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


def engine(url: URL, timeout: StatementTimeout) -> AsyncEngine:
    """An engine over a file, which only its owner may read, or over memory."""
    if url.database and url.database != ":memory:":
        file = Path(url.database)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)  # it holds password hashes; SQLite gives its other files this mode

    def opened(*arguments: Any, **options: Any) -> sqlite3.Connection:
        return _Connection(timeout, *arguments, **options)

    made = create_async_engine(
        url,
        hide_parameters=True,
        # The driver must not begin transactions by itself: it would begin them too late.
        connect_args={"factory": opened, "isolation_level": None, "timeout": BUSY_SECONDS},
        skip_autocommit_rollback=True,
    )
    # Each call of the driver is a turn of two threads; what has only read has nothing to roll back.
    dialect: Any = made.sync_engine.dialect
    dialect.detect_autocommit_setting = _is_outside_transactions

    @event.listens_for(made.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # Writers queue from the start: a transaction that first reads and then writes would
        # fail at once when another one wrote in between.
        if "writing" in connection.get_execution_options():
            connection.exec_driver_sql(BEGIN)

    return made
