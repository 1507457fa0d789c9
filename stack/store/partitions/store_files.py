"""The files of the store: partitions in a folder, started anew and removed by size and age."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from threading import Lock

from stack.store.partitions.partition import SUFFIX, Extent, NeverCompletedError, Partition
from stack.terminal import print_line
from vitals import secure_files

_PARTS = 16
"""Into how many partitions size and age are divided."""


@dataclass(frozen=True)
class Retention:
    """How much is kept.

    Attributes:
        seconds: How long.
        size: Bytes on disk.
    """

    seconds: float
    size: int


class StoreFiles:
    """All partitions. One thread writes; others read the list.

    Args:
        folder: Where they are; created if missing, readable by this user only.
        retention: How much is kept.

    Raises:
        sqlite3.Error: No partition can be created, such as on a full disk.
        OSError: The same, or the folder cannot be read.
    """

    def __init__(self, folder: Path, retention: Retention) -> None:
        secure_files.make_directories(folder.parent)
        secure_files.make_directory(folder, mode=0o700)
        self._folder, self.retention = folder, retention
        self._lock = Lock()
        self._all: list[Partition] = []
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            try:
                self._all.append(Partition.read(path))
            except NeverCompletedError:
                path.unlink()  # the process ended while it was created
            except (sqlite3.DatabaseError, ValueError) as error:
                # What the disk refuses now is not broken: without it, the store must not start.
                if isinstance(error, sqlite3.OperationalError):
                    raise
                print_line(f"{path.name} is left out, it cannot be read: {error}")
        self.active = self._all[-1] if self._all else Partition.create(folder)
        if not self._all:
            self._all.append(self.active)
        self.database = self.active.connect()

    @property
    def all(self) -> Sequence[Partition]:
        """The partitions, oldest first."""
        with self._lock:
            return tuple(self._all)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(partition.size for partition in self.all)

    @property
    def oldest(self) -> float:
        """Time of the oldest content, in seconds since 1970; 0 without any."""
        moments = [
            span.first
            for partition in self.all
            for span in (partition.chunks, partition.lines)
            if span.last >= 0
        ]
        return min(moments) / 1e9 if moments else 0.0

    def traces(self, start: int, end: int) -> list[Partition]:
        """Those with traces that start within a time, newest first."""
        return self._within(attrgetter("chunks"), start, end)

    def logs(self, start: int, end: int) -> list[Partition]:
        """Those with lines of a time, newest first."""
        return self._within(attrgetter("lines"), start, end)

    def maintain(self) -> bool:
        """Start a new partition where it is due, and remove what is too old or too much.

        Returns:
            Whether a new one was started: what is known of the last one no longer holds.

        Raises:
            sqlite3.Error: No partition can be created.
            OSError: The same.
        """
        full = self.active.size > self.retention.size // _PARTS
        old = time.time() - self.active.created > self.retention.seconds / _PARTS
        renewed = full or (old and max(self.active.chunks.last, self.active.lines.last) >= 0)
        if renewed:
            new = Partition.create(self._folder)
            database = new.connect()
            self.active.seal(self.database)
            self.database.close()
            with self._lock:
                self._all.append(new)
                self.active, self.database = new, database
        self._remove_surplus()
        return renewed

    def close(self) -> None:
        """Close the file that is written to."""
        self.database.close()

    def _remove_surplus(self) -> None:
        sizes = {id(partition): partition.size for partition in self.all}
        # The partition that is written to may grow to its share of the size before the next look.
        total = sum(sizes.values()) + self.retention.size // _PARTS
        bound = (time.time() - self.retention.seconds) * 1e9
        for partition in self.all[:-1]:
            if (
                total > self.retention.size
                or max(partition.chunks.last, partition.lines.last) < bound
            ):
                with self._lock:
                    self._all.remove(partition)
                partition.remove()
                total -= sizes[id(partition)]

    def _within(
        self, span_of: Callable[[Partition], Extent], start: int, end: int
    ) -> list[Partition]:
        found = [each for each in self.all if span_of(each).overlaps(start, end)]
        return sorted(found, key=lambda each: span_of(each).last, reverse=True)
