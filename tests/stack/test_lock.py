"""One stack at a time over one data folder."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from stack import lock


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


def test_while_a_killed_stack_is_cleared_the_next_waits(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = lock.take(path, "killed")
    path.write_text(json.dumps({"pid": 2**22 + 1, "what": "killed"}))
    keeper = subprocess.Popen(["sleep", "0.5"], pass_fds=[held])
    os.close(held)
    os.close(lock.take(path, "next"))
    assert keeper.poll() is not None
