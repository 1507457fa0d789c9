"""Memory-mapped store for one worker's metrics, which other processes read while it changes.

A store is a chain of segments. A segment starts with a header, followed by records. Each record is
appended once and never moved: a type, a text, and its cells, float64 values updated in place. The
header says up to where records are complete, and is updated last: a process killed at any
instruction leaves a store without the record that it was writing.

    segment   magic, size, committed bytes, pid, start time of the process, whether that process
              has ended by plan; padded to 64 bytes
    record    kind, bytes of text, cells, checksum, reference; the text padded to 8; the cells

The checksum covers processors that show another core the header's new value before the record.
Files and the memory of a single process use the same format, so there is one reader for both.
"""

import mmap
import os
import struct
from collections.abc import Callable, Iterator
from enum import IntEnum
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

MAGIC = b"vitals\x00\x02"
SEGMENT_BYTES = 1 << 16
MAX_SEGMENT_BYTES = 1 << 20

_HEADER = struct.Struct("=8sQQQQQ16x")
_COMMITTED, _ENDED = 2, 5
"""Positions in the header, in words of 8 bytes: the committed bytes, and whether the process ended
by plan."""
_RECORD = struct.Struct("=IIIIQ")

if TYPE_CHECKING:
    Cells = memoryview[float]
else:
    Cells = memoryview  # not generic before Python 3.14

Allocate = Callable[[int], memoryview]
"""Returns that many bytes of zeroed memory."""


class RecordKind(IntEnum):
    """Type of a record."""

    METRIC = 1
    SERIES = 2
    EXEMPLARS = 3
    COMPACTED = 4


class Record(NamedTuple):
    """One record, as read from a segment.

    Attributes:
        kind: Its type.
        address: Its address in the store, by which other records refer to it.
        reference: The address of the record it belongs to, 0 for none.
        text: Its content.
        start: Its first cell in the segment's ``cells``.
        stop: The cell after its last.
    """

    kind: int
    address: int
    reference: int
    text: str
    start: int
    stop: int


class Segment:
    """One contiguous part of a store.

    Args:
        memory: Its bytes; of a file, a mapping.
        base: The address of its first byte in the store.

    Attributes:
        private: Whether only its process can read it.

    Raises:
        ValueError: The memory holds no segment, or an incomplete one.
    """

    def __init__(self, memory: memoryview, base: int = 0) -> None:
        if len(memory) < _HEADER.size:
            raise ValueError("too short for a segment")
        magic, size, _, self.pid, self.start_time, _ = _HEADER.unpack_from(memory)
        if magic != MAGIC or not _HEADER.size <= size <= len(memory) or size % 8:
            raise ValueError("not a segment, or one of another version")
        self.base = base
        self.private = False
        self.memory = memory[:size]
        self.cells: Cells = self.memory.cast("d")
        self._words = self.memory.cast("Q")

    @classmethod
    def write(cls, memory: memoryview, base: int, pid: int, start_time: int) -> "Segment":
        """Initialize an empty segment in zeroed memory; the magic is written last."""
        _HEADER.pack_into(memory, 0, bytes(8), len(memory), _HEADER.size, pid, start_time, 0)
        memory[: len(MAGIC)] = MAGIC
        return cls(memory, base)

    @property
    def committed(self) -> int:
        """Bytes that hold complete records, including the header."""
        return min(int(self._words[_COMMITTED]), len(self.memory))

    def commit(self, end: int) -> None:
        """Publish the records up to an offset, in a single atomic write of 8 bytes."""
        self._words[_COMMITTED] = max(end, self._words[_COMMITTED])

    @property
    def ended(self) -> bool:
        """Whether its process has ended by plan, or is about to."""
        return bool(self._words[_ENDED])

    def mark_ended(self) -> None:
        """Note that the process ends by plan; one that is killed or crashes never does."""
        self._words[_ENDED] = 1

    def records(self, start: int = 0) -> Iterator[tuple[Record, int]]:
        """Every complete record from an offset on, each with the offset of the next."""
        at = start or _HEADER.size
        committed = self.committed
        while at + _RECORD.size <= committed:
            kind, length, cells, checksum, reference = _RECORD.unpack_from(self.memory, at)
            first = at + _RECORD.size + (length + 7) // 8 * 8
            end = first + cells * 8
            if end > committed:
                return
            text = bytes(self.memory[at + _RECORD.size : at + _RECORD.size + length])
            if checksum != _checksum(kind, cells, reference, text):
                return
            record = Record(kind, self.base + at, reference, text.decode(), first // 8, end // 8)
            yield record, end
            at = end


def segments(memory: memoryview) -> list[Segment]:
    """The complete segments of a file."""
    found: list[Segment] = []
    at = 0
    while at < len(memory):
        try:
            found.append(Segment(memory[at:], at))
        except ValueError:
            break
        at += len(found[-1].memory)
    return found


class MmapStore:
    """Append-only store that this process writes.

    Args:
        allocate: Provides the memory.
        pid: The process that writes it.
        start_time: When that process started.
        spill: Whether to continue in private memory when allocation fails because the disk is full
            or a limit is reached.
        size: Bytes to allocate at first.

    Attributes:
        segments: Its segments, in order.
        spilled: Why some of them are in private memory; None if none is.

    Raises:
        OSError: There is no space left.
    """

    def __init__(
        self,
        allocate: Allocate | None = None,
        *,
        pid: int = 0,
        start_time: int = 0,
        spill: bool = False,
        size: int = 0,
    ) -> None:
        self._allocate = allocate or in_memory
        self._spill = spill
        self.spilled: OSError | None = None
        self._pid = pid
        self._start_time = start_time
        self._size = 0
        self._next_size = SEGMENT_BYTES
        self._used = 0
        self._lock = RLock()
        self.segments: list[Segment] = []
        self._current = self._add_segment(size)

    @property
    def used(self) -> int:
        """Bytes that its records need."""
        return sum(segment.committed for segment in self.segments)

    def append(
        self, kind: RecordKind, text: str, cells: int = 0, reference: int = 0
    ) -> tuple[int, Cells]:
        """Add a record; its cells start at 0.

        Returns:
            The record's address and its cells.

        Raises:
            OSError: There is no space left, and ``spill`` is off.
        """
        # A lone surrogate cannot be encoded, and must not fail a request.
        encoded = text.encode("utf-8", "replace")
        first = _RECORD.size + (len(encoded) + 7) // 8 * 8
        size = first + cells * 8
        with self._lock:
            if self._used + size > len(self._current.memory):
                self._current = self._add_segment(size)
            segment = self._current
            # One statement: the lock keeps other threads out, but not the garbage collector. It may
            # run anywhere below and return a connection to its pool, which records here too.
            at, self._used = self._used, self._used + size
            checksum = _checksum(kind, cells, reference, encoded)
            _RECORD.pack_into(segment.memory, at, kind, len(encoded), cells, checksum, reference)
            segment.memory[at + _RECORD.size : at + _RECORD.size + len(encoded)] = encoded
            segment.commit(at + size)
        return segment.base + at, segment.cells[(at + first) // 8 : (at + size) // 8]

    def _add_segment(self, needed: int) -> Segment:
        # Multiples of the segment size: a mapping may only start at a page boundary.
        pieces = -(-(needed + _HEADER.size) // SEGMENT_BYTES)
        size = max(self._next_size, pieces * SEGMENT_BYTES)
        self._next_size = min(size * 2, MAX_SEGMENT_BYTES)
        try:
            memory = self._allocate(size)
        except OSError as error:
            if not (self._spill and self.segments):
                raise
            self._allocate = in_memory
            self.spilled = error
            memory = in_memory(size)
        segment = Segment.write(memory, self._size, self._pid, self._start_time)
        segment.private = self._allocate is in_memory
        self._size += size
        self._used = _HEADER.size
        self.segments.append(segment)
        return segment


def in_memory(size: int) -> memoryview:
    """Allocate private memory of this process."""
    return memoryview(bytearray(size))


class FileMemory:
    """Memory of a file that other processes can map.

    Args:
        path: The file, which is created.

    Attributes:
        inode: Its inode.

    Raises:
        OSError: The file exists or cannot be created.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(path, flags, 0o600)
        self.inode = os.fstat(file).st_ino
        os.close(file)
        self._path = path
        self._end = 0

    def __call__(self, size: int) -> memoryview:
        """Extend the file, and map what was added.

        Raises:
            OSError: There is no space left, or the path names another file by now.
        """
        at = self._end
        file = os.open(self._path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(file).st_ino != self.inode:
                raise FileNotFoundError(f"{self._path} was replaced")
            # Write zeros instead of truncating: touching a hole of a sparse file on a full disk
            # would kill the process with SIGBUS.
            written = os.pwrite(file, bytes(size), at)
            if written < size:
                raise OSError(f"{self._path}: only {written} of {size} bytes could be written")
            memory = memoryview(mmap.mmap(file, size, offset=at))
        finally:
            os.close(file)
        self._end += size
        return memory

    def move(self, path: Path) -> None:
        """Rename the file, replacing another one atomically.

        Raises:
            OSError: It cannot be renamed.
        """
        self._path.replace(path)
        self._path = path


def in_file(path: Path) -> FileMemory:
    """Create a file that other processes can map; returns what extends it.

    Raises:
        OSError: The file exists or cannot be created.
    """
    return FileMemory(path)


def map_file(path: Path) -> memoryview:
    """Map a whole file read-only; later changes by its writer are visible.

    Raises:
        OSError: It cannot be opened.
        ValueError: It is empty.
    """
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_READ))
    finally:
        os.close(file)


def _checksum(kind: int, cells: int, reference: int, text: bytes) -> int:
    return crc32(text, crc32(_RECORD.pack(kind, len(text), cells, 0, reference)))
