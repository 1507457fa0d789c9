"""One stack at a time over one data folder."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from stack.process import lock
from tests.disks import disk


def test_the_second_is_told_who_runs(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = lock.take(path, "the first")
    assert lock.is_held(path)
    with pytest.raises(lock.AlreadyRunningError, match=rf"the first \(pid {os.getpid()}\)"):
        lock.take(path, "the second")
    os.close(held)
    assert not lock.is_held(path)


def test_a_lock_left_by_a_dead_process_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text(json.dumps({"pid": 2**22 + 1, "what": "a long text of a stack that died"}))
    os.close(lock.take(path, "next"))
    assert lock.holder(path) == (os.getpid(), "next")


def test_a_stranger_with_the_holders_number_is_not_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = lock.take(path, "one")
    assert lock.holder_lives(path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"birth": content["birth"] - 1}))
    assert not lock.holder_lives(path)
    os.close(held)


def test_a_lock_through_a_link_is_refused_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("ours")
    (tmp_path / "lock").symlink_to(tmp_path / "other")
    with pytest.raises(PermissionError, match="lock is a link"):
        lock.take(tmp_path / "lock", "one")
    with pytest.raises(PermissionError):
        lock.is_held(tmp_path / "lock")
    assert (tmp_path / "other").read_text() == "ours"


def test_a_lock_for_which_there_is_no_room_says_so(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    with disk(tmp_path / "small", "100k") as small:
        path = small.place / "lock"
        path.touch()
        small.fill()
        with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
            lock.take(path, "one")
        assert not lock.is_held(path)


def test_while_a_killed_stack_is_cleared_the_next_waits(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = lock.take(path, "killed")
    path.write_text(json.dumps({"pid": 2**22 + 1, "what": "killed"}))
    keeper = subprocess.Popen(["sleep", "0.5"], pass_fds=[held])
    os.close(held)
    os.close(lock.take(path, "next"))
    assert keeper.poll() is not None
