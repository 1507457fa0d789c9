"""The archive: keeps the inbox's messages across restarts, in an SQLite file of bounded size."""

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any

from stack.terminal import print_line

MAX_AGE = timedelta(days=30)
MAX_ROWS = 2_000
"""Of each kind."""
MAX_BYTES = 32_000_000
_PAGE_BYTES = 4_096
_SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, received TEXT NOT NULL, content TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS message_by_kind ON message (kind, id);
CREATE TABLE IF NOT EXISTS heartbeat (
    name TEXT PRIMARY KEY, received TEXT NOT NULL, within REAL NOT NULL
);
"""


class Archive:
    """Messages and heartbeats in a file; thread-safe.

    A file that cannot be written to, such as on a full disk, is logged and never fails a message.

    Args:
        path: The file; `None` keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = Lock()
        self._failed = False
        self._database = sqlite3.connect(path or ":memory:", check_same_thread=False, timeout=5)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute(f"PRAGMA max_page_count = {MAX_BYTES // _PAGE_BYTES}")
        self._database.executescript(_SCHEMA)

    def add(self, kind: str, received: str, content: dict[str, Any]) -> None:
        """Keep a message, and drop what is too old or too much."""
        row = (kind, received, json.dumps(content))
        self._write("INSERT INTO message (kind, received, content) VALUES (?, ?, ?)", row)
        self._prune(kind)

    def newest(self, kind: str, limit: int) -> Iterator[dict[str, Any]]:
        """The last messages of a kind, newest first."""
        with self._lock:
            rows = self._database.execute(
                "SELECT content FROM message WHERE kind = ? ORDER BY id DESC LIMIT ?", (kind, limit)
            ).fetchall()
        for (content,) in rows:
            yield json.loads(content)

    def set_heartbeat(self, name: str, received: str, within: float) -> None:
        """Keep the last heartbeat of a sender."""
        self._write("INSERT OR REPLACE INTO heartbeat VALUES (?, ?, ?)", (name, received, within))

    def forget_heartbeat(self, name: str) -> None:
        """Drop a sender."""
        self._write("DELETE FROM heartbeat WHERE name = ?", (name,))

    def heartbeats(self) -> list[tuple[str, str, float]]:
        """Each sender, when its last heartbeat was received, and within what the next is due."""
        with self._lock:
            return self._database.execute("SELECT name, received, within FROM heartbeat").fetchall()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def _prune(self, kind: str) -> None:
        oldest = (datetime.now(UTC) - MAX_AGE).isoformat(timespec="milliseconds")
        self._write("DELETE FROM message WHERE received < ?", (oldest,))
        self._write(
            "DELETE FROM message WHERE kind = ? AND id <= (SELECT id FROM message WHERE kind = ? "
            "ORDER BY id DESC LIMIT 1 OFFSET ?)",
            (kind, kind, MAX_ROWS),
        )

    def _write(self, statement: str, parameters: tuple[Any, ...]) -> None:
        with self._lock:
            try:
                try:
                    self._execute(statement, parameters)
                except sqlite3.OperationalError as error:
                    if "full" not in str(error):
                        raise
                    # The older half makes room; on a full disk this fails too.
                    self._execute(
                        "DELETE FROM message WHERE id <= (SELECT avg(id) FROM message)", ()
                    )
                    self._execute(statement, parameters)
            except sqlite3.Error as error:
                if not self._failed:
                    print_line(f"messages are shown, but not kept for the next start: {error}")
                self._failed = True
                return
            self._failed = False

    def _execute(self, statement: str, parameters: tuple[Any, ...]) -> None:
        with self._database:
            self._database.execute(statement, parameters)
