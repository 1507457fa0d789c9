"""The lock file: one stack at a time in a data folder."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from stack.process import lock
from tests.disks import disk


def test_a_second_start_fails_and_names_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = lock.acquire(path, "the first")
    assert lock.is_held(path)
    with pytest.raises(lock.AlreadyRunningError, match=rf"the first \(pid {os.getpid()}\)"):
        lock.acquire(path, "the second")
    os.close(held)
    assert not lock.is_held(path)


def test_the_lock_of_a_dead_process_is_acquired(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text(json.dumps({"pid": 2**22 + 1, "command": "a long text of a stack that died"}))
    os.close(lock.acquire(path, "next"))
    assert lock.holder(path) == (os.getpid(), "next")


def test_another_process_with_the_holders_pid_is_not_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = lock.acquire(path, "one")
    assert lock.holder_is_alive(path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"start_time": content["start_time"] - 1}))
    assert not lock.holder_is_alive(path)
    os.close(held)


def test_a_symbolic_link_is_refused_as_lock_file(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("ours")
    (tmp_path / "lock").symlink_to(tmp_path / "other")
    with pytest.raises(PermissionError, match="lock is a link"):
        lock.acquire(tmp_path / "lock", "one")
    with pytest.raises(PermissionError):
        lock.is_held(tmp_path / "lock")
    assert (tmp_path / "other").read_text() == "ours"


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    with disk(tmp_path / "small", "100k") as small:
        path = small.path / "lock"
        path.touch()
        small.fill()
        with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
            lock.acquire(path, "one")
        assert not lock.is_held(path)


def test_the_next_start_waits_for_the_reaper_of_a_killed_stack(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = lock.acquire(path, "killed")
    path.write_text(json.dumps({"pid": 2**22 + 1, "command": "killed"}))
    reaper = subprocess.Popen(["sleep", "0.5"], pass_fds=[held])
    os.close(held)
    os.close(lock.acquire(path, "next"))
    assert reaper.poll() is not None
