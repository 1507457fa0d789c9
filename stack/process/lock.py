"""One stack at a time over one data folder."""

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

from vitals import secure_files
from vitals.metrics.process_identity import start_time

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
    held = secure_files.open_file(path, os.O_RDWR | os.O_CREAT)
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            pid, other = holder(path)
            being_cleared = pid != 0 and not holder_lives(path)
            if not being_cleared or time.monotonic() > deadline:
                os.close(held)
                raise AlreadyRunningError(_refusal(path, pid, other, killed=being_cleared)) from (
                    None
                )
        time.sleep(0.1)
    pid = os.getpid()
    content = json.dumps({"pid": pid, "birth": start_time(pid), "what": what}).encode()
    try:
        os.ftruncate(held, 0)
        os.write(held, content)
    except OSError as error:
        os.close(held)
        raise OSError(error.errno, error.strerror, str(path)) from None
    return held


def _refusal(path: Path, pid: int, other: str, *, killed: bool) -> str:
    if killed:
        return (
            f"{other} (pid {pid}) over {path.parent} was killed, and what it left has not ended "
            f"after {_PATIENCE:g} s; python -m stack status names it"
        )
    return f"already running over {path.parent}: {other} (pid {pid}); Ctrl-C there stops it"


def holder(path: Path) -> tuple[int, str]:
    """Who wrote the lock last: its pid and what it is; (0, "") when unknown."""
    try:
        content = _content(path)
        return int(content["pid"]), str(content["what"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, ""


def holder_lives(path: Path) -> bool:
    """Whether the process that wrote the lock last runs still."""
    try:
        content = _content(path)
        born = start_time(int(content["pid"]))
        return born is not None and born == content.get("birth", born)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _content(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(secure_files.read(path))
    return content


def is_held(path: Path) -> bool:
    """Whether a stack, or the keeper of one that was killed, runs over this folder now.

    Raises:
        OSError: We may not know.
    """
    try:
        probe = secure_files.open_file(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(probe)
    return False
