"""A partition: one SQLite file with the traces and log lines of a stretch of time.

Retention removes whole files: no deletes, no vacuum, and the size on disk is what is counted.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import re2

from stack.store.partitions.deadline import Deadline

SUFFIX = ".sqlite3"
_SIDES = ("", "-wal", "-shm", "-journal")
_CACHE_KIB = 4_096
_CHECK_EVERY = 500_000
"""Instructions of SQLite between two looks at the clock, about ten milliseconds: each look waits
for the interpreter, which others use."""
# Contentless indexes without positions hold row ids by term: a candidate is read and compared
# exactly. `term` holds hashes of attributes, `gram` all triples of letters of lines.
SCHEMA = """
CREATE TABLE resource (id INTEGER PRIMARY KEY, content BLOB NOT NULL UNIQUE);
CREATE TABLE chunk (
    id INTEGER PRIMARY KEY, trace_id BLOB NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL,
    longest INTEGER NOT NULL, resource INTEGER NOT NULL, service TEXT NOT NULL, root TEXT,
    spans INTEGER NOT NULL, errors INTEGER NOT NULL, content BLOB NOT NULL
);
CREATE INDEX chunk_by_trace ON chunk (trace_id);
CREATE INDEX chunk_by_start ON chunk (start);
CREATE VIRTUAL TABLE chunk_term USING fts5(term, content='', detail=none, columnsize=0,
    tokenize='ascii');
CREATE TABLE tag (
    scope TEXT NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (scope, name, value, type)
) WITHOUT ROWID;
CREATE TABLE stream (
    id INTEGER PRIMARY KEY, labels TEXT NOT NULL, resource TEXT NOT NULL, UNIQUE (labels, resource)
);
CREATE TABLE line (
    id INTEGER PRIMARY KEY, time INTEGER NOT NULL, stream INTEGER NOT NULL, trace_id TEXT,
    body TEXT NOT NULL, metadata TEXT NOT NULL
);
CREATE INDEX line_by_time ON line (time, stream);
CREATE INDEX line_by_trace ON line (trace_id) WHERE trace_id IS NOT NULL;
CREATE VIRTUAL TABLE line_term USING fts5(term, content='', detail=none, columnsize=0,
    tokenize='ascii');
CREATE VIRTUAL TABLE line_gram USING fts5(body, content='', detail=none, columnsize=0,
    tokenize='trigram');
"""


class NeverCompletedError(Exception):
    """A file that was created, and has no tables."""


@dataclass
class Extent:
    """A stretch of time, in nanoseconds since 1970; empty while `first` is above `last`."""

    first: int = 2**63 - 1
    last: int = -1

    def add(self, first: int, last: int) -> None:
        """Extend it."""
        self.first, self.last = min(self.first, first), max(self.last, last)

    def overlaps(self, start: int, end: int) -> bool:
        """Whether it has a moment in common with another."""
        return self.first <= end and self.last >= start


@dataclass
class Partition:
    """One file, and what times its content is of.

    Attributes:
        path: The file.
        created: When, in seconds since 1970.
        chunks: Times of its traces.
        lines: Times of its log lines.
    """

    path: Path
    created: float
    chunks: Extent = field(default_factory=Extent)
    lines: Extent = field(default_factory=Extent)

    @classmethod
    def create(cls, folder: Path) -> "Partition":
        """Create one.

        Raises:
            sqlite3.Error: The file cannot be written, such as on a full disk.
            OSError: The same.
        """
        now = time.time()
        path = folder / f"{int(now * 1000):016d}{SUFFIX}"
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o600))
        made = cls(path, now)
        try:
            with closing(made.connect()) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.executescript(f"BEGIN;{SCHEMA}COMMIT;")
        except sqlite3.Error:
            made.remove()
            raise
        return made

    @classmethod
    def read(cls, path: Path) -> "Partition":
        """Read one that is there.

        Raises:
            NeverCompletedError: It has no content.
            sqlite3.OperationalError: The disk refuses.
            sqlite3.DatabaseError: It is not a partition.
        """
        found = cls(path, int(path.name.removesuffix(SUFFIX)) / 1000)
        with closing(found.connect()) as database:
            if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise NeverCompletedError(path.name)
            for table, column, span in (
                ("chunk", "start", found.chunks),
                ("line", "time", found.lines),
            ):
                for select in ("min", "max"):
                    query = f"SELECT {select}({column}) FROM {table}"  # noqa: S608 - our names
                    (moment,) = database.execute(query).fetchone()
                    if moment is not None:
                        span.add(moment, moment)
        return found

    @property
    def size(self) -> int:
        """Bytes on disk."""
        total = 0
        for side in _SIDES:
            with suppress(OSError):
                total += Path(f"{self.path}{side}").stat().st_blocks * 512
        return total

    def connect(self) -> sqlite3.Connection:
        """A connection that writes; what it commits is on the disk."""
        database = sqlite3.connect(
            self.path, check_same_thread=False, isolation_level=None, timeout=5
        )
        database.execute("PRAGMA synchronous = FULL")
        database.execute(f"PRAGMA cache_size = -{_CACHE_KIB * 4}")
        return database

    @contextmanager
    def reading(self, deadline: Deadline) -> Iterator[sqlite3.Connection]:
        """A connection that reads, until the deadline at most.

        Raises:
            QueryTimeoutError: The deadline has passed.
        """
        deadline.check()
        database = sqlite3.connect(f"file:{_quoted(self.path)}?mode=ro", uri=True, timeout=1)
        try:
            database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            database.execute("PRAGMA query_only = 1")
            database.set_progress_handler(lambda: deadline.passed, _CHECK_EVERY)
            database.create_function("matches", 2, _matches, deterministic=True)
            database.create_function("number", 1, _number, deterministic=True)
            yield database
        except sqlite3.OperationalError:
            deadline.check()
            raise
        finally:
            database.close()

    def seal(self, database: sqlite3.Connection) -> None:
        """Leave one file without a log, when nothing more will be written to it."""
        with suppress(sqlite3.Error):  # a reader or a full disk: the log stays, and is read
            database.execute("PRAGMA journal_mode = DELETE")

    def remove(self) -> None:
        """Remove its files; those who read it finish undisturbed."""
        for side in _SIDES:
            Path(f"{self.path}{side}").unlink(missing_ok=True)


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


_compiled: dict[str, re2._Regexp] = {}


def _matches(text: str | None, pattern: str) -> bool:
    """Whether a pattern occurs in a text, in time that grows with the text only."""
    regexp = _compiled.get(pattern)
    if regexp is None:
        if len(_compiled) > 100:  # noqa: PLR2004 - a few boards' worth
            _compiled.clear()
        regexp = _compiled[pattern] = re2.compile(pattern)
    return regexp.search(text or "") is not None


def _number(text: str) -> float | None:
    """The number that a text is; `None`, which compares to nothing, if it is none."""
    try:
        return float(text)
    except ValueError:
        return None
