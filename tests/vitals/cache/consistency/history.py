"""History of reads and commits of several processes, and detection of stale reads.

Times are of the machine's monotonic clock, which its processes share.
"""

import os
import struct
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate
from pathlib import Path

_FORMAT = struct.Struct("<BIIqq")


class Kind(IntEnum):
    """What happened."""

    READ = 0
    COMMIT = 1
    DEATH = 2


@dataclass(frozen=True)
class Event:
    """Something that one process did.

    Attributes:
        kind: What.
        key: To which row.
        number: What was read, or committed.
        begin: Nanoseconds at which it began.
        end: And at which it was done: of a commit, when the database had it.
    """

    kind: Kind
    key: int
    number: int
    begin: int
    end: int


class Journal:
    """Events on disk, each written at once: nothing is lost with the process that is killed."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY)

    def write(self, event: Event) -> None:
        """Add an event."""
        line = _FORMAT.pack(event.kind, event.key, event.number, event.begin, event.end)
        os.write(self._file, line)

    @staticmethod
    def read(paths: Iterable[Path]) -> Iterator[Event]:
        """All events of all journals."""
        for path in paths:
            written = path.read_bytes()
            whole = len(written) - len(written) % _FORMAT.size
            for kind, *fields in _FORMAT.iter_unpack(written[:whole]):
                yield Event(Kind(kind), *fields)


@dataclass(frozen=True)
class Stale:
    """A read that got less than what was committed before it began.

    Attributes:
        read: It.
        late: Seconds between the first commit that it misses and its own beginning.
    """

    read: Event
    late: float


def stale(events: Iterable[Event]) -> list[Stale]:
    """Find every stale read. Numbers of a key must grow with each commit."""
    by_key: defaultdict[int, tuple[list[Event], list[Event]]] = defaultdict(lambda: ([], []))
    for event in events:
        if event.kind is not Kind.DEATH:
            by_key[event.key][event.kind].append(event)
    return [found for reads, commits in by_key.values() for found in _stale(reads, commits)]


def _stale(reads: list[Event], commits: list[Event]) -> Iterator[Stale]:
    commits = sorted(commits, key=lambda commit: commit.end)
    ends = [commit.end for commit in commits]
    newest = list(accumulate((commit.number for commit in commits), max))
    for read in reads:
        known = bisect_left(ends, read.begin)
        if known and newest[known - 1] > read.number:
            missed = ends[bisect_left(newest, read.number + 1)]
            yield Stale(read, (read.begin - missed) / 1e9)
