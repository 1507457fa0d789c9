"""SQLite file of the issue tracker: tables, and the bounds of what is kept."""

import sqlite3
from pathlib import Path

MAX_ISSUES = 5_000
"""Beyond, those that are resolved or ignored and occurred longest ago go first, then any."""
MAX_PLACES = 200
"""Combinations of service, release and route of one issue; further ones are ``OTHER``."""
MAX_EXAMPLES = 10
"""Example traces of one issue, the newest."""
MAX_MESSAGE, MAX_STACK, MAX_LABEL = 2_000, 32_000, 300
"""Characters."""
MAX_BYTES = 500_000_000
OTHER = "__other__"
HOUR = 3_600
KEEP_HOURS = 30 * 24
"""How long it is known how often an issue occurred in each hour; the sum is kept."""
_PAGE_BYTES = 4_096
_VERSION = 2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS tracker (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS issue (
    fingerprint TEXT PRIMARY KEY,
    type TEXT NOT NULL, place TEXT NOT NULL, message TEXT NOT NULL, stacktrace TEXT NOT NULL,
    first_seen REAL NOT NULL, last_seen REAL NOT NULL,
    first_release TEXT NOT NULL, last_release TEXT NOT NULL,
    state TEXT NOT NULL, state_since REAL NOT NULL, regressions INTEGER NOT NULL,
    attempts INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS issue_by_time ON issue (last_seen);
CREATE TABLE IF NOT EXISTS minute (
    fingerprint TEXT NOT NULL, minute INTEGER NOT NULL,
    service TEXT NOT NULL, release TEXT NOT NULL, route TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (minute, fingerprint, service, release, route)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hour (
    fingerprint TEXT NOT NULL, hour INTEGER NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (fingerprint, hour)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS place (
    fingerprint TEXT NOT NULL, service TEXT NOT NULL, release TEXT NOT NULL, route TEXT NOT NULL,
    count INTEGER NOT NULL, first_seen REAL NOT NULL, last_seen REAL NOT NULL,
    PRIMARY KEY (fingerprint, service, release, route)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS example (
    fingerprint TEXT NOT NULL, trace_id TEXT NOT NULL, time REAL NOT NULL,
    service TEXT NOT NULL, release TEXT NOT NULL, route TEXT NOT NULL,
    PRIMARY KEY (fingerprint, trace_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notice (
    id INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL, kind TEXT NOT NULL, time REAL NOT NULL,
    service TEXT NOT NULL, release TEXT NOT NULL, route TEXT NOT NULL,
    shown_since REAL
);
"""
TABLES_OF_ISSUE = ("issue", "minute", "hour", "place", "example", "notice")


def connect(path: Path | None) -> sqlite3.Connection:
    """Open the file, and create its tables.

    What is committed survives a kill; after a loss of power the last transactions may be missing,
    which are then read again from the store.

    Args:
        path: The file; None for one in memory.

    Raises:
        sqlite3.Error: It cannot be opened, or is of a later version.
    """
    database = sqlite3.connect(
        path or ":memory:", check_same_thread=False, timeout=5, isolation_level=None
    )
    database.row_factory = sqlite3.Row
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute(f"PRAGMA max_page_count = {MAX_BYTES // _PAGE_BYTES}")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        raise sqlite3.DatabaseError(f"{path} is of a later version of the issue tracker: {version}")
    if version == 1:  # by its former name
        database.execute("ALTER TABLE keeper RENAME TO tracker")
    database.executescript(_SCHEMA)
    if version != _VERSION:
        database.execute(f"PRAGMA user_version = {_VERSION}")
    return database
