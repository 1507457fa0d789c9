"""One stack at a time over one data folder."""

import fcntl
import json
import os
import time
from pathlib import Path

from vitals import files

_PATIENCE = 15.0


class AlreadyRunningError(RuntimeError):
    """Another stack runs over this folder."""


def take(path: Path, what: str) -> int:
    """Take the lock; it is ours until we and our keeper have ended.

    Args:
        path: The lock's file.
        what: What we are, told to whoever comes second.

    Returns:
        The file descriptor that holds it.

    Raises:
        AlreadyRunningError: Another runs.
    """
    held = files.open_file(path, os.O_RDWR | os.O_CREAT)
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            pid, other = holder(path)
            being_cleared = pid and not Path("/proc", str(pid)).exists()
            if not being_cleared or time.monotonic() > deadline:
                os.close(held)
                raise AlreadyRunningError(
                    f"already running over {path.parent}: {other} (pid {pid}); "
                    "Ctrl-C there stops it"
                ) from None
        time.sleep(0.1)
    os.ftruncate(held, 0)
    os.write(held, json.dumps({"pid": os.getpid(), "what": what}).encode())
    return held


def holder(path: Path) -> tuple[int, str]:
    """Who wrote the lock last: its pid and what it is; (0, "") when unknown."""
    try:
        content = json.loads(path.read_text())
        return int(content["pid"]), str(content["what"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, ""


def is_held(path: Path) -> bool:
    """Whether a stack runs over this folder now."""
    try:
        probe = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(probe)
    return False
