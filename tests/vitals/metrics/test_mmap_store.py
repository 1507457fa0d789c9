import mmap
import os
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitals.metrics import mmap_store
from vitals.metrics.mmap_store import (
    SEGMENT_BYTES,
    MmapStore,
    Record,
    RecordKind,
    Segment,
    in_file,
    map_file,
    segments,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
appended = st.lists(st.tuples(texts, st.integers(0, 40)), max_size=60)


def read(memory: memoryview) -> list[Record]:
    return [record for segment in segments(memory) for record, _ in segment.records()]


@settings(deadline=None)
@given(appended)
def test_appended_records_are_read_back(records: list[tuple[str, int]]) -> None:
    store = MmapStore()
    for text, cells in records:
        store.append(RecordKind.SERIES, text, cells, 7)
    found = [record for segment in store.segments for record, _ in segment.records()]
    assert [(r.kind, r.text, r.stop - r.start, r.reference) for r in found] == [
        (RecordKind.SERIES, text, cells, 7) for text, cells in records
    ]


def test_cells_do_not_overlap_or_move_as_the_store_grows(tmp_path: Path) -> None:
    path = tmp_path / "one.mmap"
    store = MmapStore(in_file(path))
    rows = [store.append(RecordKind.SERIES, f"row {number}", 17)[1] for number in range(2_000)]
    rows.append(store.append(RecordKind.SERIES, "larger than any segment", 200_000)[1])
    for number, cells in enumerate(rows):
        for cell in range(len(cells)):
            cells[cell] += number + 1
    assert len(store.segments) > 2
    memory = map_file(path)
    places = {segment.base: segment for segment in segments(memory)}
    assert sum(len(segment.memory) for segment in places.values()) == len(memory)
    read_back = [
        set(segment.cells[record.start : record.stop].tolist())
        for segment in places.values()
        for record, _ in segment.records()
    ]
    assert read_back == [{number + 1.0} for number in range(2_001)]


def test_reading_resumes_at_an_offset() -> None:
    store = MmapStore()
    store.append(RecordKind.SERIES, "first")
    ((_, after),) = store.segments[0].records()
    store.append(RecordKind.SERIES, "second")
    assert [record.text for record, _ in store.segments[0].records(after)] == ["second"]


def test_a_kill_at_any_instruction_leaves_complete_records() -> None:
    """Stops at every instruction of an append and reads what a killed process would leave."""
    memories: list[memoryview] = []

    def grow(size: int) -> memoryview:
        memories.append(memoryview(bytearray(size)))
        return memories[-1]

    store = MmapStore(grow)
    before = [f"row {number} " + "x" * 200 for number in range(219)]
    for text in before:
        store.append(RecordKind.SERIES, text, 8)
    assert len(memories) == 1
    seen: set[int] = set()

    def look(frame: FrameType, event: str, _argument: Any) -> Any:
        if frame.f_code.co_filename != mmap_store.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            texts = [record.text for record in read(memoryview(b"".join(memories)))]
            assert texts == [*before, *more][: len(texts)]
            assert len(texts) >= len(before)
            seen.add(len(texts))
        return look

    more = [f"more {number} " + "y" * 200 for number in range(4)]  # the last in a new segment
    outer = sys.gettrace()
    sys.settrace(look)
    try:
        for text in more:
            store.append(RecordKind.SERIES, text, 8)
    finally:
        sys.settrace(outer)
    assert len(memories) == 2
    assert seen == set(range(219, 224))


def test_a_record_not_yet_visible_to_another_core_is_skipped() -> None:
    memory = memoryview(bytearray(SEGMENT_BYTES))
    segment = Segment.write(memory, 0, 1, 1)
    store = MmapStore(lambda _: memory[:])
    store.append(RecordKind.SERIES, "first", 2)
    end = segment.committed
    store.append(RecordKind.SERIES, "second", 2)
    whole = bytes(memory)
    memory[end : end + 8] = bytes(8)
    assert [record.text for record, _ in segment.records()] == ["first"]
    memory[:] = whole
    assert [record.text for record, _ in segment.records()] == ["first", "second"]


@pytest.mark.parametrize(
    "content",
    [b"", b"short", b"not a store at all" * 10, bytes(SEGMENT_BYTES)],
    ids=["empty", "short", "foreign", "zeros"],
)
def test_invalid_files_have_no_segments(content: bytes) -> None:
    assert segments(memoryview(content)) == []


def test_unencodable_text_is_replaced() -> None:
    store = MmapStore()
    store.append(RecordKind.SERIES, "a\ud800b")
    assert [record.text for record, _ in store.segments[0].records()] == ["a?b"]


FULL = """
import resource, sys
from pathlib import Path
from vitals.metrics.mmap_store import MmapStore, RecordKind, in_file, map_file, segments
from vitals.metrics.mmap_store import SEGMENT_BYTES
resource.setrlimit(resource.RLIMIT_FSIZE, (SEGMENT_BYTES, SEGMENT_BYTES))
path = Path(sys.argv[1])
store = MmapStore(in_file(path), spill=True)
assert store.spilled is None
rows = [store.append(RecordKind.SERIES, f"row {n}", 17)[1] for n in range(5000)]
for cells in rows:
    cells[0] += 1
assert sum(len(list(s.records())) for s in store.segments) == 5000
shared = [r for s in segments(map_file(path)) for r, _ in s.records()]
assert 100 < len(shared) < 1000, len(shared)
assert isinstance(store.spilled, OSError)
assert [s.private for s in store.segments] == [False] + [True] * (len(store.segments) - 1)
try:
    strict = MmapStore(in_file(path.with_suffix(".2")))
    for n in range(5000):
        strict.append(RecordKind.SERIES, f"row {n}", 17)
except OSError:
    print("raised")
"""


def test_a_store_spills_to_memory_when_the_disk_is_full(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "full.mmap")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "raised\n"), done.stderr


def test_room_is_taken_when_the_file_grows_not_when_it_is_touched(tmp_path: Path) -> None:
    """A hole that finds the disk full when it is written to ends the process with SIGBUS."""
    path = tmp_path / "one.mmap"
    store = MmapStore(in_file(path))
    while len(store.segments) < 3:
        store.append(RecordKind.SERIES, "row", 17)
    os.sync()
    assert path.stat().st_blocks * 512 >= path.stat().st_size > 2 * SEGMENT_BYTES


def test_segments_begin_where_every_machine_can_map_them() -> None:
    assert SEGMENT_BYTES % mmap.ALLOCATIONGRANULARITY == 0
