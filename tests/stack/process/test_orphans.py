"""What a killed stack left is known by what it is, and nobody else's process is touched."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stack.installation.paths import Installation
from stack.installation.ports import Ports
from stack.installation.process_record import Record, Running
from stack.process import orphans
from vitals.metrics.process_identity import start_time


@pytest.fixture
def here(tmp_path: Path) -> Installation:
    return Installation(tmp_path, Ports())


@contextmanager
def _started(*command: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        command or ("sleep", "600"), env={**os.environ, **environment}, process_group=0
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _noted(here: Installation, pid: int, born: int | None = None) -> None:
    """Leave the record of a killed stack."""
    record = Record(here.record, here.ports)
    record.add("redis", pid, task=False)
    if born is not None:
        text = here.record.read_text().replace(f": {start_time(pid)}", f": {born}")
        here.record.write_text(text)


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_is_known_by_the_mark_of_the_data_and_by_no_other(
    here: Installation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    with (
        _started(**{orphans.VARIABLE: orphans.mark(here.data)}) as left,
        _started(**{orphans.VARIABLE: orphans.mark(other)}) as foreign,
    ):
        _wait(lambda: [each.pid for each in orphans.find(here)] == [left.pid])
        orphans.end(orphans.find(here))
        assert left.wait(10) == -signal.SIGTERM
        assert orphans.find(here) == []
        assert foreign.poll() is None


def test_a_process_that_was_noted_is_known_without_a_mark(here: Installation) -> None:
    with _started() as left:
        _noted(here, left.pid)
        assert [(each.part, each.pid) for each in orphans.find(here)] == [("redis", left.pid)]
        left.send_signal(signal.SIGSTOP)  # and heard although it is paused
        orphans.end(orphans.find(here))
        assert left.wait(10) == -signal.SIGTERM


def test_a_stranger_with_the_number_of_one_that_was_noted_is_left_alone(here: Installation) -> None:
    with _started() as stranger:
        _noted(here, stranger.pid, born=1)
        assert orphans.find(here) == []
        orphans.end([orphans.Orphan("redis", stranger.pid, 1)])
        assert stranger.poll() is None


def test_a_child_belongs_to_the_part_that_started_it(here: Installation) -> None:
    mark = {orphans.VARIABLE: orphans.mark(here.data)}
    with _started("sh", "-c", "sleep 600 & wait", **mark) as parent:
        _noted(here, parent.pid)
        _wait(lambda: len(orphans.find(here)) == 2)
        parent.kill()
        parent.wait()
        [child] = orphans.find(here)
        assert (child.part, child.pid != parent.pid) == ("redis", True)
        orphans.end([child])
        assert orphans.find(here) == []


def test_one_that_ignores_the_request_is_killed(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "_GRACE_SECONDS", 0.3)
    with _started("sh", "-c", "trap '' TERM; while :; do sleep 600; done") as stubborn:
        _noted(here, stubborn.pid)
        ignored = 1 << (signal.SIGTERM - 1)
        status = Path("/proc", str(stubborn.pid), "status")
        _wait(lambda: bool(int(status.read_text().split("SigIgn:")[1].split()[0], 16) & ignored))
        orphans.end(orphans.find(here))
        assert stubborn.wait(10) == -signal.SIGKILL


def test_a_record_is_overwritten_in_place_and_reads_as_it_was_noted(here: Installation) -> None:
    record = Record(here.record, here.ports)
    inode, size = here.record.stat().st_ino, here.record.stat().st_size
    record.add("api", os.getpid(), task=False)
    record.add("seed", 2**22 + 1, task=True)
    assert here.read_pids() == {}, "it is not ready yet"
    record.set_ready()
    assert here.read_pids() == {"api": os.getpid()}
    running = here.read_running()
    assert running is not None
    assert running.lives("api")
    assert not running.lives("seed")
    assert (here.record.stat().st_ino, here.record.stat().st_size) == (inode, size)
    record.close()
    assert here.read_running() is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"ports": {"api": 1, "more": 2}}', "\0" * 100])
def test_a_record_that_makes_no_sense_says_nothing(here: Installation, text: str) -> None:
    here.record.write_text(text)
    assert Running.read(here.record) is None
