"""Growth of memory: a look of some seconds at what grows, by line, type and container.

Two snapshots of tracemalloc tell it: what is only in use while a request is served is in both, what
a leak keeps is in the second one. What the process grew by and tracemalloc did not see is said to
be no Python objects, rather than left out.
"""

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from time import perf_counter

from vitals.own_code import short_path
from vitals.profiling.memory.allocations import (
    Allocations,
    Place,
    Site,
    count_types,
    merge,
    type_label,
)
from vitals.profiling.memory.containers import Container, walk
from vitals.profiling.memory.process_memory import Limit, Memory, read_limit, read_memory

MAX_COUNTED = 1_000_000
"""Blocks of a process whose objects are counted by type: more take over 20 ms, without a turn."""
MANY_BLOCKS = 50_000
"""Traced blocks that end a look for which somebody asked: to read them takes 20 ms."""
_POLL = 0.05
_SETTLE = 0.25
"""The share of the time before the first snapshot: requests of before end meanwhile."""
_PAUSE = 0.2
"""Seconds between two readings of one snapshot: what a request of then only uses is in one."""
_TYPES_EVERY = 3
"""Polls between two samples of types."""
_MIN_FOREIGN, _MIN_FOREIGN_SHARE = 1 << 20, 0.2
"""What is not in Python objects is reported from here on: bytes, and their share of the growth."""


class BusyError(Exception):
    """Another look is taken already."""


@dataclass(frozen=True)
class ContainerGrowth:
    """A container that grew.

    Attributes:
        container: The container as it is now.
        entries: By how many entries it grew.
    """

    container: Container
    entries: int


@dataclass(frozen=True)
class Growth:
    """What grew within some seconds.

    Attributes:
        seconds: Between the two snapshots.
        is_cut: Whether it ended early, because there were enough blocks.
        before: The process's memory at the first snapshot; None where it is not told.
        after: The same at the second.
        limit: The nearest limit.
        python_bytes: What the traced memory grew by; negative if it shrank.
        sites: Lines that grew, the most bytes first.
        containers: Containers that grew, by entries.
        types: By how many objects each type grew; None if there were too many to count.
        blocks: Blocks in use of the whole process.
    """

    seconds: float
    is_cut: bool
    before: Memory | None
    after: Memory | None
    limit: Limit | None
    python_bytes: int
    sites: list[Site]
    containers: list[ContainerGrowth]
    types: Mapping[type, int] | None
    blocks: int

    @property
    def foreign_bytes(self) -> int:
        """What the process grew by without Python's objects; 0 if that is little, or unknown."""
        if self.before is None or self.after is None:
            return 0
        grew = self.after.private - self.before.private
        foreign = grew - max(0, self.python_bytes)
        return foreign if foreign >= max(_MIN_FOREIGN, _MIN_FOREIGN_SHARE * grew) else 0


def look(
    seconds: float, stopped: threading.Event, max_blocks: int = MANY_BLOCKS, *, types: bool = True
) -> Growth:
    """Look for some seconds at what grows; in a thread of its own.

    Args:
        seconds: For how long.
        stopped: Ends it early.
        max_blocks: Traced blocks that end it early.
        types: Whether objects are counted by type, if there are few enough.

    Raises:
        BusyError: Another one is taken.
        TracedAlreadyError: The host traces too much.
    """
    # What these allocate is not traced: it would be ten times as slow.
    counted, held = _count_types() if types else None, _containers(stopped)
    allocations = Allocations()
    if not allocations.start(max_blocks):
        raise BusyError("memory is looked at already: try again when that has ended")
    pause = min(_PAUSE, seconds * _SETTLE)
    try:
        _wait(allocations, seconds * _SETTLE, stopped, max_blocks // 2)
        kept = allocations.kept()
        stopped.wait(pause)
        kept = merge(max, kept, allocations.kept())
        entries = {name: each.look_again() for name, each in held.items()}
        began, before, traced = perf_counter(), read_memory(), allocations.bytes()
        is_cut = _wait(allocations, seconds * (1 - _SETTLE), stopped, max_blocks)
        lasted, after = perf_counter() - began, read_memory()
        python_bytes = allocations.bytes() - traced
        kept_after = allocations.kept()
        stopped.wait(pause)
        kept_after = merge(min, kept_after, allocations.kept())
        containers = list(_grown(held, entries, allocations))
    finally:
        allocations.stop()
    counted_after = _count_types() if counted is not None else None
    return Growth(
        seconds=lasted,
        is_cut=is_cut,
        before=before,
        after=after,
        limit=read_limit(),
        python_bytes=python_bytes,
        sites=allocations.grown(kept, kept_after),
        containers=sorted(containers, key=lambda each: -each.entries),
        types=None if counted is None or counted_after is None else _more(counted, counted_after),
        blocks=sys.getallocatedblocks(),
    )


def _grown(
    held: Mapping[str, Container],
    before: Mapping[str, tuple[int, str, Place | None] | None],
    allocations: Allocations,
) -> Iterator[ContainerGrowth]:
    for name, container in held.items():
        was, now = before[name], container.look_again()
        if was is None or now is None or now[0] <= was[0]:
            continue
        entries, holds, place = now
        yield ContainerGrowth(replace(container, entries=entries, holds=holds), entries - was[0])
        if place is not None:
            allocations.note_type(holds, place, entries - was[0])


def _wait(
    allocations: Allocations, seconds: float, stopped: threading.Event, max_blocks: int
) -> bool:
    """Wait, and sample types meanwhile; returns whether there were enough blocks before."""
    ends, polls = perf_counter() + seconds, 0
    while (left := ends - perf_counter()) > 0:
        if allocations.blocks() >= max_blocks:
            return True
        if not polls % _TYPES_EVERY:
            allocations.sample_types()
        polls += 1
        if stopped.wait(min(_POLL, left)):
            return True
    return False


def _containers(stopped: threading.Event) -> dict[str, Container]:
    """Containers with many entries, by name; of several with one name, the largest."""
    found: dict[str, Container] = {}
    for step in walk():
        for each in step:
            known = found.get(each.name)
            if known is None or known.entries < each.entries:
                found[each.name] = each
        if stopped.wait(0.001):
            break
    return found


def _count_types() -> Mapping[type, int] | None:
    return count_types() if sys.getallocatedblocks() <= MAX_COUNTED else None


def _more(before: Mapping[type, int], after: Mapping[type, int]) -> dict[type, int]:
    found = {kind: count - before.get(kind, 0) for kind, count in after.items()}
    return {
        kind: count
        for kind, count in found.items()
        if count > 0 and not str(kind.__module__).startswith(__package__ or "")  # of this look
    }


def to_json(growth: Growth, top: int) -> dict[str, object]:
    """The growth as ``vitals memory --json`` has it: bytes, seconds, counts."""
    before, after = growth.before, growth.after
    types = None
    if growth.types is not None:
        ranked = sorted(growth.types.items(), key=lambda each: -each[1])
        types = [{"type": type_label(kind), "objects": count} for kind, count in ranked[:top]]
    return {
        "pid": os.getpid(),
        "seconds": round(growth.seconds, 3),
        "ended_early": growth.is_cut,
        "resident_bytes": None if after is None else after.resident,
        "private_bytes_grown": (
            None if before is None or after is None else after.private - before.private
        ),
        "python_bytes_grown": growth.python_bytes,
        "other_bytes_grown": None if before is None or after is None else growth.foreign_bytes,
        "limit": (
            None
            if growth.limit is None
            else {
                "scope": growth.limit.scope,
                "used_bytes": growth.limit.used,
                "limit_bytes": growth.limit.limit,
            }
        ),
        "python_blocks": growth.blocks,
        "sites": [
            {
                "path": short_path(each.line.path),
                "line": each.line.number,
                "function": f"{each.line.module}.{each.line.function}".rstrip("."),
                "called": each.called and short_path(each.called),
                "type": each.type,
                "bytes": each.bytes,
                "blocks": each.blocks,
            }
            for each in growth.sites[:top]
        ],
        "containers": [
            {
                "name": each.container.name,
                "type": each.container.kind,
                "holds": each.container.holds,
                "entries": each.container.entries,
                "grown": each.entries,
            }
            for each in growth.containers[:top]
        ],
        "types": types,
    }
