"""Numbers in one piece of memory, which another process can read while they change.

A slab is a chain of segments. A segment starts with a header and goes on with records, each
appended once and never moved: what it is (a text), then its cells, float64 numbers that change in
place. The header says how far records are complete, and that is written last: a process killed at
any instruction leaves a slab that reads as if it had never begun the record it was writing.

    segment   magic, size, bytes committed, pid, birth of the process; padded to 64 bytes
    record    kind, bytes of text, cells, checksum, reference; the text padded to 8; the cells

The checksum is for processors that show another core the header's new figure before the record.
Files and the memory of a single process hold the same, so there is one way to read them.
"""

import logging
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from enum import IntEnum
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

MAGIC = b"vitals\x00\x01"
SEGMENT_BYTES = 1 << 16
MOST_SEGMENT_BYTES = 1 << 20

_HEADER = struct.Struct("=8sQQQQ24x")
_COMMITTED = 2
"""Where the header has the bytes committed, counted in words of 8 bytes."""
_RECORD = struct.Struct("=IIIIQ")

if TYPE_CHECKING:
    Cells = memoryview[float]
else:
    Cells = memoryview  # not generic before Python 3.14

Grow = Callable[[int], memoryview]
"""Gives that many bytes of memory, zeroed."""


class Kind(IntEnum):
    """What a record is."""

    METRIC = 1
    SERIES = 2
    EXEMPLARS = 3
    FOLDED = 4


class Record(NamedTuple):
    """A record that was read.

    Attributes:
        kind: What it is.
        at: Its address in the slab, by which other records refer to it.
        reference: The address of the record it belongs to, 0 for none.
        text: What it says.
        start: Its first cell in the segment's ``cells``.
        stop: The cell after its last.
    """

    kind: int
    at: int
    reference: int
    text: str
    start: int
    stop: int


class Segment:
    """One stretch of a slab.

    Args:
        memory: Its bytes; of a file, a mapping.
        base: The address of its first byte in the slab.

    Raises:
        ValueError: There is no segment in this memory, or not yet a whole one.
    """

    def __init__(self, memory: memoryview, base: int = 0) -> None:
        if len(memory) < _HEADER.size:
            raise ValueError("too short for a segment")
        magic, size, _, self.pid, self.birth = _HEADER.unpack_from(memory)
        if magic != MAGIC or not _HEADER.size <= size <= len(memory) or size % 8:
            raise ValueError("this is no segment, or one of another version")
        self.base = base
        self.memory = memory[:size]
        self.cells: Cells = self.memory.cast("d")
        self._words = self.memory.cast("Q")

    @classmethod
    def write(cls, memory: memoryview, base: int, pid: int, birth: int) -> "Segment":
        """Make an empty segment of zeroed memory; the magic goes last."""
        _HEADER.pack_into(memory, 0, bytes(8), len(memory), _HEADER.size, pid, birth)
        memory[: len(MAGIC)] = MAGIC
        return cls(memory, base)

    @property
    def committed(self) -> int:
        """Bytes that hold complete records, the header's included."""
        return min(int(self._words[_COMMITTED]), len(self.memory))

    def commit(self, end: int) -> None:
        """Show the records that end here; a single store of 8 bytes, whole or not at all."""
        self._words[_COMMITTED] = max(end, self._words[_COMMITTED])

    def records(self, start: int = 0) -> Iterator[tuple[Record, int]]:
        """Every complete record from an offset on, with the offset of the next."""
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
    """The segments of a file, as far as they are whole."""
    found: list[Segment] = []
    at = 0
    while at < len(memory):
        try:
            found.append(Segment(memory[at:], at))
        except ValueError:
            break
        at += len(found[-1].memory)
    return found


class Slab:
    """A slab that this process writes.

    Args:
        grow: Where the memory comes from.
        pid: The process it is written for.
        birth: When that process started.
        spill: Whether to go on in the memory of this process, and say so once, when there is no
            more to be had, because the disk is full or there is a limit.

    Raises:
        OSError: There is no room.
    """

    def __init__(
        self, grow: Grow | None = None, *, pid: int = 0, birth: int = 0, spill: bool = False
    ) -> None:
        self._grow = grow or in_memory
        self._spill = spill
        self._pid = pid
        self._birth = birth
        self._size = 0
        self._next = SEGMENT_BYTES
        self._used = 0
        self._lock = RLock()
        self.segments: list[Segment] = []
        self._current = self._extend(0)

    def append(
        self, kind: Kind, text: str, cells: int = 0, reference: int = 0
    ) -> tuple[int, Cells]:
        """Add a record; its cells start at 0.

        Returns:
            The record's address and its cells.

        Raises:
            OSError: There is no room, and the slab may not spill.
        """
        # A lone surrogate cannot be written, and must not cost a request.
        said = text.encode("utf-8", "replace")
        first = _RECORD.size + (len(said) + 7) // 8 * 8
        size = first + cells * 8
        with self._lock:
            if self._used + size > len(self._current.memory):
                self._current = self._extend(size)
            segment = self._current
            # One step: the lock keeps other threads out, but not the garbage collector, which may
            # run anywhere below and return a connection to its pool, which is recorded here too.
            at, self._used = self._used, self._used + size
            checksum = _checksum(kind, cells, reference, said)
            _RECORD.pack_into(segment.memory, at, kind, len(said), cells, checksum, reference)
            segment.memory[at + _RECORD.size : at + _RECORD.size + len(said)] = said
            segment.commit(at + size)
        return segment.base + at, segment.cells[(at + first) // 8 : (at + size) // 8]

    def _extend(self, needed: int) -> Segment:
        # Whole multiples, for a mapping may only begin where one of the machine's pages does.
        pieces = -(-(needed + _HEADER.size) // SEGMENT_BYTES)
        size = max(self._next, pieces * SEGMENT_BYTES)
        self._next = min(size * 2, MOST_SEGMENT_BYTES)
        try:
            memory = self._grow(size)
        except OSError as error:
            if not (self._spill and self.segments):
                raise
            logging.getLogger(__name__).warning(
                "metrics: no room to share more with the other workers (%s); "
                "new series of this worker show only on its own pages",
                error,
            )
            self._grow = in_memory
            memory = in_memory(size)
        segment = Segment.write(memory, self._size, self._pid, self._birth)
        self._size += size
        self._used = _HEADER.size
        self.segments.append(segment)
        return segment


def in_memory(size: int) -> memoryview:
    """Memory of this process alone."""
    return memoryview(bytearray(size))


def in_file(path: Path) -> Grow:
    """Memory that other processes can map: a file, made now and longer with every call.

    Raises:
        OSError: It is there already, or cannot be made; calls raise it for want of room.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.close(file)
    ends = [0]

    def grow(size: int) -> memoryview:
        at = ends[0]
        ends[0] += size
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            # Written, not only made longer: a hole that finds the disk full when it is touched
            # through the mapping would end the process with SIGBUS.
            written = os.pwrite(file, bytes(size), at)
            if written < size:
                raise OSError(f"{path}: only {written} of {size} bytes could be written")
            return memoryview(mmap.mmap(file, size, offset=at))
        finally:
            os.close(file)

    return grow


def map_file(path: Path) -> memoryview:
    """A whole file to read; later changes by its writer show.

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
