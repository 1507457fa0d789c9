"""Orphans of a killed stack are found, and no other process is touched."""

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
from stack.installation.process_record import ProcessRecord, RecordWriter
from stack.process import orphans
from vitals.metrics import process_identity


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


def _record(here: Installation, pid: int, start_time: int | None = None) -> None:
    """Leave the record of a killed stack."""
    record = RecordWriter(here.record_path, here.ports)
    record.update("redis", "ready", pid=pid, ends=0, task=False)
    if start_time is not None:
        text = here.record_path.read_text().replace(
            f": {process_identity.start_time(pid)}", f": {start_time}"
        )
        here.record_path.write_text(text)


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_orphan_is_found_by_the_marker_of_its_data_folder_only(
    here: Installation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    with (
        _started(**{orphans.MARKER_VARIABLE: orphans.marker(here.data)}) as left,
        _started(**{orphans.MARKER_VARIABLE: orphans.marker(other)}) as foreign,
    ):
        _wait(lambda: [each.pid for each in orphans.find(here)] == [left.pid])
        orphans.end(orphans.find(here))
        assert left.wait(10) == -signal.SIGTERM
        assert orphans.find(here) == []
        assert foreign.poll() is None


def test_a_recorded_orphan_is_found_without_a_marker(here: Installation) -> None:
    with _started() as left:
        _record(here, left.pid)
        assert [(each.service, each.pid) for each in orphans.find(here)] == [("redis", left.pid)]
        left.send_signal(signal.SIGSTOP)  # a paused process must end as well
        orphans.end(orphans.find(here))
        assert left.wait(10) == -signal.SIGTERM


def test_another_process_with_a_recorded_pid_is_not_touched(here: Installation) -> None:
    with _started() as other:
        _record(here, other.pid, start_time=1)
        assert orphans.find(here) == []
        orphans.end([orphans.Orphan("redis", other.pid, 1)])
        assert other.poll() is None


def test_a_child_belongs_to_the_service_that_started_it(here: Installation) -> None:
    marker = {orphans.MARKER_VARIABLE: orphans.marker(here.data)}
    with _started("sh", "-c", "sleep 600 & wait", **marker) as parent:
        _record(here, parent.pid)
        _wait(lambda: len(orphans.find(here)) == 2)
        parent.kill()
        parent.wait()
        [child] = orphans.find(here)
        assert (child.service, child.pid != parent.pid) == ("redis", True)
        orphans.end([child])
        assert orphans.find(here) == []


def test_an_orphan_that_ignores_sigterm_is_killed(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "_GRACE_SECONDS", 0.3)
    with _started("sh", "-c", "trap '' TERM; while :; do sleep 600; done") as stubborn:
        _record(here, stubborn.pid)
        ignored = 1 << (signal.SIGTERM - 1)
        status = Path("/proc", str(stubborn.pid), "status")
        _wait(lambda: bool(int(status.read_text().split("SigIgn:")[1].split()[0], 16) & ignored))
        orphans.end(orphans.find(here))
        assert stubborn.wait(10) == -signal.SIGKILL


def test_the_record_is_overwritten_in_place(here: Installation) -> None:
    record = RecordWriter(here.record_path, here.ports)
    inode, size = here.record_path.stat().st_ino, here.record_path.stat().st_size
    record.update("api", "ready", pid=os.getpid(), ends=0, task=False)
    record.update("seed", "starting", pid=2**22 + 1, ends=0, task=True)
    record.update("traffic", "waiting", pid=0, ends=0, task=False)
    assert here.read_pids() == {}, "it is not ready yet"
    record.set_ready()
    assert here.read_pids() == {"api": os.getpid()}
    running = here.read_record()
    assert running is not None
    assert running.is_alive("api")
    assert not running.is_alive("seed")
    assert running.states == {"api": "ready", "seed": "starting", "traffic": "waiting"}
    record.update("api", "ended", pid=os.getpid(), ends=1, task=False)
    changed = here.read_record()
    assert changed is not None
    assert (changed.states["api"], changed.ends["api"]) == ("ended", 1)
    assert (here.record_path.stat().st_ino, here.record_path.stat().st_size) == (inode, size)
    record.close()
    assert here.read_record() is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"ports": {"api": 1, "more": 2}}', "\0" * 100])
def test_an_invalid_record_is_ignored(here: Installation, text: str) -> None:
    here.record_path.write_text(text)
    assert ProcessRecord.read(here.record_path) is None
