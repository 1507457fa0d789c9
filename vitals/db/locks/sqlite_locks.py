"""Current locks of an SQLite database: which process writes to it, or reads from it.

SQLite locks bytes of the database file, or in WAL mode of the file ``-shm`` beside it (see
https://sqlite.org/walformat.html). The kernel is asked who holds them; nothing is locked or opened
as a database. SQLite has no list of who waits: its callers try again until their time-out.
"""

import fcntl
import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from time import time

from vitals.metrics.process_identity import unix_start_time
from vitals.redaction.secret_patterns import redact_patterns, redact_random_words

UNKNOWN = "unknown: SQLite keeps no list of who waits, nor of statements"
_FLOCK = struct.Struct("hhqqi4x")
_PENDING, _RESERVED, _SHARED, _SHARED_SIZE = 0x40000000, 0x40000001, 0x40000002, 510
_WAL_WRITE, _WAL_READERS, _WAL_READER_COUNT = 120, 123, 5
_WAL_VERSION = 2
_VERSION_OFFSET = 18


@dataclass(frozen=True)
class SqliteLock:
    """A lock that a process holds on an SQLite database.

    Attributes:
        pid: The process, which ``kill`` ends.
        application: Its command line, without what looks like a secret; empty if unknown.
        lock: ``write`` (others get "database is locked"), ``commit`` (others may not even read) or
            ``read`` (only a checkpoint or, outside of WAL mode, a commit waits for it).
        running: Age of the process in seconds, which the lock cannot exceed; None if unknown.
        waiting: Says what SQLite does not know.
    """

    pid: int
    application: str
    lock: str
    running: float | None
    waiting: str = UNKNOWN


def read(database: Path) -> list[SqliteLock]:
    """Read the locks that other processes hold now.

    Args:
        database: The database file.

    Raises:
        ValueError: This system does not tell who holds a lock.
        OSError: The file cannot be read.
    """
    if not sys.platform.startswith("linux"):
        raise ValueError("who locks an SQLite database is known on Linux only")
    with database.open("rb") as file:
        header = file.read(_VERSION_OFFSET + 1)
        if header and not header.startswith(b"SQLite format 3\0"):
            raise ValueError(f"{database} is no SQLite database")
        if len(header) > _VERSION_OFFSET and header[_VERSION_OFFSET] == _WAL_VERSION:
            return _read_wal(database.with_name(f"{database.name}-shm"))
        held = [
            ("commit", _holder(file.fileno(), _PENDING, 1)),
            ("write", _holder(file.fileno(), _RESERVED, 1)),
            ("read", _holder(file.fileno(), _SHARED, _SHARED_SIZE)),
        ]
    return _locks(held)


def _read_wal(shared: Path) -> list[SqliteLock]:
    try:
        with shared.open("rb") as file:
            number = file.fileno()
            readers = range(_WAL_READERS, _WAL_READERS + _WAL_READER_COUNT)
            held = [("write", _holder(number, _WAL_WRITE, 1))]
            held += [("read", _holder(number, byte, 1)) for byte in readers]
    except FileNotFoundError:  # the database is not open
        return []
    return _locks(held)


def _locks(held: list[tuple[str, int]]) -> list[SqliteLock]:
    strongest: dict[int, str] = {}
    for kind, pid in held:  # the strongest first
        if pid:
            strongest.setdefault(pid, kind)
    return [SqliteLock(pid, _command(pid), kind, _age(pid)) for pid, kind in strongest.items()]


def _holder(file: int, start: int, length: int) -> int:
    """The process that holds a lock which conflicts with a write lock; 0 for none."""
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))
    return 0 if kind == fcntl.F_UNLCK else int(pid)


def _command(pid: int) -> str:
    try:
        words = Path("/proc", str(pid), "cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    text = b" ".join(words).decode(errors="replace").strip()[:200]
    return redact_random_words(redact_patterns(text))


def _age(pid: int) -> float | None:
    started = unix_start_time(pid)
    return None if started is None else round(max(0.0, time() - started), 1)
