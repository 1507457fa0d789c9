"""The file of profiles: SQLite, bounded by age and size."""

import json
import sqlite3
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from stack.store.partitions.deadline import Deadline
from stack.store.partitions.store_files import Retention
from stack.store.profiles.pprof import PushedProfile
from vitals import secure_files

FILE = "profiles.sqlite"
SHARE = 8
"""The part of the store's size that profiles may have: one of so many."""
LABELS = {
    "service_name": "service",
    "service_version": "version",
    "service_instance_id": "instance",
    "process_pid": "pid",
    "http_route": "route",
}
"""Columns by label; other labels are not kept."""
_MAX_VALUES = 1_000
_SCHEMA = """
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS profile (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, service TEXT NOT NULL, version TEXT NOT NULL,
    instance TEXT NOT NULL, pid TEXT NOT NULL, route TEXT NOT NULL, content BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS profile_of ON profile (service, at);
CREATE INDEX IF NOT EXISTS profile_at ON profile (at);
"""

Stacks = dict[tuple[str, ...], int]
"""Nanoseconds by stack, the outermost frame first."""


class ProfileFile:
    """Keeps profiles. One thread writes; others read with connections of their own.

    Args:
        folder: Where the file is; created if missing.
        retention: How much the store keeps.

    Raises:
        sqlite3.Error: The file cannot be written.
    """

    def __init__(self, folder: Path, retention: Retention) -> None:
        secure_files.make_directories(folder.parent)
        secure_files.make_directory(folder, mode=0o700)
        self._path, self._retention = folder / FILE, retention
        with closing(self._connect()) as database:
            database.executescript(_SCHEMA)
        self._path.chmod(0o600)

    def write(self, profiles: Sequence[PushedProfile]) -> int:
        """Write profiles, and remove what is too old or too much.

        Returns:
            How many were kept: not those without a stack, or older than all that is kept.

        Raises:
            sqlite3.Error: They cannot be written.
        """
        now = time.time()
        oldest = now - self._retention.seconds
        rows = [
            (
                each.start or now,
                *(each.labels.get(label, "") for label in LABELS),
                zlib.compress(json.dumps(list(each.stacks.items())).encode(), 6),
            )
            for each in profiles
            if each.stacks and oldest <= (each.start or now) <= now + 60
        ]
        with closing(self._connect()) as database:
            with database:
                insert = (
                    "INSERT INTO profile (at, service, version, instance, pid, route, content)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)"
                )
                database.executemany(insert, rows)
                database.execute("DELETE FROM profile WHERE at < ?", (oldest,))
            self._shrink(database)
        return len(rows)

    def read(self, matched: dict[str, str], start: float, end: float, within: Deadline) -> Stacks:
        """The sum of the profiles of a time.

        Args:
            matched: Values by label.
            start: In seconds since 1970.
            end: The same, not included.
            within: When to give up.

        Raises:
            QueryTimeoutError: There are too many.
        """
        names = "".join(f" AND {LABELS[label]} = ?" for label in matched)
        query = f"SELECT content FROM profile WHERE at >= ? AND at < ?{names}"  # noqa: S608 - our names
        total: Stacks = {}
        with closing(self._connect()) as database:
            for (content,) in database.execute(query, (start, end, *matched.values())):
                within.check()
                for frames, spent in json.loads(zlib.decompress(content)):
                    stack = tuple(frames)
                    total[stack] = total.get(stack, 0) + spent
        return total

    def values(self, label: str, start: float, end: float) -> Iterator[str]:
        """The values of a label within a time."""
        column = LABELS[label]
        query = (
            f"SELECT DISTINCT {column} FROM profile WHERE at >= ? AND at < ? AND {column} != ''"  # noqa: S608 - our names
            f" ORDER BY {column} LIMIT {_MAX_VALUES}"
        )
        with closing(self._connect()) as database:
            yield from (value for (value,) in database.execute(query, (start, end)))

    def _shrink(self, database: sqlite3.Connection) -> None:
        """Remove the oldest profiles until the file has at most its share of the store."""
        most = self._retention.size // SHARE
        (page,) = database.execute("PRAGMA page_size").fetchone()
        while True:
            (pages,) = database.execute("PRAGMA page_count").fetchone()
            (free,) = database.execute("PRAGMA freelist_count").fetchone()
            if (pages - free) * page <= most:
                break
            with database:
                removed = database.execute(
                    "DELETE FROM profile WHERE id IN (SELECT id FROM profile ORDER BY at LIMIT 200)"
                )
            if not removed.rowcount:
                break
        database.execute("PRAGMA incremental_vacuum").fetchall()

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=5)
        database.execute("PRAGMA synchronous = NORMAL")
        return database
