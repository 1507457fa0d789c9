"""Lock file of a data folder: only one stack may run in it."""

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

from vitals import secure_files
from vitals.metrics import process_identity

_TIMEOUT_SECONDS = 15.0


class AlreadyRunningError(RuntimeError):
    """Another stack is running in this data folder."""


def acquire(path: Path, command: str) -> int:
    """Acquire the lock; it is held until this process and its reaper have ended.

    Args:
        path: The lock file.
        command: The command that runs, for the error message of a second start.

    Returns:
        The file descriptor that holds the lock.

    Raises:
        AlreadyRunningError: Another stack holds it.
    """
    # Not filelock: the reaper inherits this descriptor, and the file says who holds the lock.
    held = secure_files.open_file(path, os.O_RDWR | os.O_CREAT)
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            pid, other = holder(path)
            being_reaped = pid != 0 and not holder_is_alive(path)
            if not being_reaped or time.monotonic() > deadline:
                os.close(held)
                raise AlreadyRunningError(_error_text(path, pid, other, killed=being_reaped)) from (
                    None
                )
        time.sleep(0.1)
    pid = os.getpid()
    content = json.dumps(
        {"pid": pid, "start_time": process_identity.start_time(pid), "command": command}
    ).encode()
    try:
        os.ftruncate(held, 0)
        os.write(held, content)
    except OSError as error:
        os.close(held)
        raise OSError(error.errno, error.strerror, str(path)) from None
    return held


def _error_text(path: Path, pid: int, other: str, *, killed: bool) -> str:
    if killed:
        return (
            f"{path.parent}: {other} (pid {pid}) was killed, and its processes have not ended "
            f"after {_TIMEOUT_SECONDS:g} s: see python -m stack status"
        )
    return f"already running in {path.parent}: {other} (pid {pid}): stop it with Ctrl-C"


def holder(path: Path) -> tuple[int, str]:
    """Pid and command of the last holder; (0, "") if unknown."""
    try:
        content = _content(path)
        return int(content["pid"]), str(content["command"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, ""


def holder_is_alive(path: Path) -> bool:
    """Whether the last holder is still running."""
    try:
        content = _content(path)
        start_time = process_identity.start_time(int(content["pid"]))
        return start_time is not None and start_time == content.get("start_time", start_time)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _content(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(secure_files.read(path))
    return content


def is_held(path: Path) -> bool:
    """Whether a stack, or the reaper of a killed stack, is running in this data folder.

    Raises:
        OSError: The lock file cannot be opened.
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
