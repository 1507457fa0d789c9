"""Allocations of a time: which lines allocated memory that stays in use, by tracemalloc.

tracemalloc makes each allocation several times as slow, so it runs for seconds, while somebody asks
or memory grows. Reading it holds the interpreter's lock for 0.4 µs a block, so that it ends as soon
as there are enough blocks to tell by.
"""

import gc
import os
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice, tee
from pathlib import Path
from typing import Any

from vitals.own_code import STANDARD, is_application_file
from vitals.profiling.memory.code_names import CodeNames
from vitals.profiling.stacks import Line

FRAMES = 16
"""Frames that are kept of each allocation: the application's line is seldom further out."""
_BLOCK_BYTES = 50
"""Bytes that tracemalloc uses for a block, of which it tells the sum only."""
_SAMPLED = 200
"""Objects that are looked at for their types at a time: each takes some 10 µs of the lock."""
_YOUNG = (1, 0)
"""Generations of young objects."""
_MAX_YOUNG = 50_000
"""Young objects, of which these are chosen; of a process that collects later, none."""

_OWN = str(Path(__file__).parent) + os.sep
_MAX_SITES = 100
_MAX_NAME = 100

Place = tuple[str, int]
"""A file and a line."""
Trace = tuple[Place, ...]
"""Places of an allocation, the innermost first."""
Kept = dict[Trace, tuple[int, int]]
"""Bytes and blocks in use by trace."""


class TracedAlreadyError(Exception):
    """The process traces more already than can be read without holding it."""


@dataclass(frozen=True)
class Site:
    """A line, and what it allocated that is in use.

    Attributes:
        line: The innermost line of the application; without any, of a library.
        called: The innermost line, if that is another one: in a library, as ``file:line``.
        bytes: How much it grew by.
        blocks: By how many blocks.
        type: The type that most sampled objects of the line have; empty if none was seen, such as
            of text and numbers, which the garbage collector does not know.
    """

    line: Line
    called: str
    bytes: int
    blocks: int
    type: str


class Allocations:
    """Traces the allocations of the process from its start to its end; one does at a time."""

    _one = threading.Lock()

    def __init__(self) -> None:
        self._is_ours = False
        self._types: dict[Place, Counter[str]] = {}

    def start(self, max_blocks: int) -> bool:
        """Begin; returns whether no other one had begun.

        Raises:
            TracedAlreadyError: The host traces, and has more blocks than that.
        """
        if not self._one.acquire(blocking=False):
            return False
        if not tracemalloc.is_tracing():
            tracemalloc.start(FRAMES)
            self._is_ours = True
        elif (blocks := self.blocks()) > max_blocks:
            self._one.release()
            raise TracedAlreadyError(
                f"the process traces {blocks:,} blocks already (PYTHONTRACEMALLOC); to read them "
                "would hold it too long: start it without"
            )
        return True

    def stop(self) -> None:
        """End, unless the host had begun."""
        if self._is_ours:
            tracemalloc.stop()
        self._one.release()

    def blocks(self) -> int:
        """About how many blocks are traced."""
        return tracemalloc.get_tracemalloc_memory() // _BLOCK_BYTES

    def bytes(self) -> int:
        """Bytes in use that are traced, with those that tracing itself uses."""
        return tracemalloc.get_traced_memory()[0] + tracemalloc.get_tracemalloc_memory()

    def kept(self) -> Kept:
        """What is in use now, of all that was allocated since the start."""
        return {
            tuple((frame.filename, frame.lineno) for frame in reversed(each.traceback)): (
                each.size,
                each.count,
            )
            for each in tracemalloc.take_snapshot().statistics("traceback")
        }

    def sample_types(self) -> None:
        """Note which types the lines allocate, by some young objects."""
        for kind, trace in _young_objects():
            if trace:
                self.note_type(type_label(kind), _place(_innermost_first(trace)))

    def note_type(self, kind: str, place: Place, count: int = 1) -> None:
        """Note that a line allocates a type."""
        self._types.setdefault(place, Counter())[kind] += count

    def grown(self, before: Kept, after: Kept) -> list[Site]:
        """The lines that grew between two times, the most bytes first."""
        found: dict[Place, list[Any]] = {}
        for trace, (size, blocks) in after.items():
            if any(path.startswith(_OWN) for path, _ in trace):
                continue
            size_before, blocks_before = before.get(trace, (0, 0))
            if size != size_before:
                each = found.setdefault(_place(trace), [0, 0, trace[0], 0])
                each[0] += size - size_before
                each[1] += blocks - blocks_before
                if size - size_before > each[3]:
                    each[2:] = trace[0], size - size_before
        for trace, (size, blocks) in before.items():
            place = _place(trace)
            if trace not in after and place in found:
                found[place][0] -= size
                found[place][1] -= blocks
        names = CodeNames()
        rising = sorted(
            (each for each in found.items() if each[1][0] > 0 and each[1][1] >= 0),
            key=lambda each: -each[1][0],
        )
        return [
            Site(
                names.name(*place),
                "" if innermost == place else f"{innermost[0]}:{innermost[1]}",
                size,
                blocks,
                self._type_of(place),
            )
            for place, (size, blocks, innermost, _) in rising[:_MAX_SITES]
        ]

    def _type_of(self, place: Place) -> str:
        found = self._types.get(place)
        return found.most_common(1)[0][0] if found else ""


def merge(choose: Callable[[int, int], int], one: Kept, other: Kept) -> Kept:
    """The greater, or lesser, of two readings by trace; what is in one only is 0 in the other."""
    none = (0, 0)
    return {
        trace: (choose(size, again[0]), choose(blocks, again[1]))
        for trace in one.keys() | other.keys()
        for (size, blocks), again in ((one.get(trace, none), other.get(trace, none)),)
    }


def type_label(kind: type) -> str:
    """A type's name with its module, without that of the builtins."""
    module = getattr(kind, "__module__", "")
    name = str(getattr(kind, "__qualname__", kind))
    return (name if module in {"builtins", None} else f"{module}.{name}")[:_MAX_NAME]


def place_of(value: object) -> Place | None:
    """Where a traced object was allocated; None if it was not traced."""
    trace = tracemalloc.get_object_traceback(value)
    if not trace:
        return None
    return _place(tuple((frame.filename, frame.lineno) for frame in reversed(trace)))


def _place(trace: Trace) -> Place:
    """The innermost place of the application; without any, of a library, else of all."""
    library: Place | None = None
    for place in trace:
        if is_application_file(place[0]):
            return place
        if library is None and not place[0].startswith(STANDARD):
            library = place
    return library or trace[0]


def _innermost_first(trace: Any) -> Trace:
    return tuple(trace)


def _young_objects() -> list[tuple[type, Any]]:
    """Types of some young objects, each with its trace; empty if there are too many.

    All of it is one call of C, without a turn for another thread: an object that were held here
    while its thread lets go of it would end here, which connections and greenlets must not.
    Python 3.11 finds no trace of objects with a ``__dict__``.
    """
    trace_of = getattr(tracemalloc, "_get_object_traceback", None)
    young, survived, _ = gc.get_count()
    if trace_of is None or young + survived * gc.get_threshold()[0] > _MAX_YOUNG:
        return []
    step = max(1, sum(map(len, map(gc.get_objects, _YOUNG))) // _SAMPLED)
    chosen: Iterator[object] = islice(
        chain.from_iterable(map(gc.get_objects, _YOUNG)), 0, None, step
    )
    first, second = tee(islice(chosen, _SAMPLED))
    return list(zip(map(type, first), map(trace_of, second), strict=False))


def count_types() -> Mapping[type, int]:
    """How many objects of each type the garbage collector knows; holds the interpreter's lock."""
    return Counter(list(map(type, chain.from_iterable(map(gc.get_objects, (None,))))))
