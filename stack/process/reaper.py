"""The reaper: a process beside the runner that ends what a killed runner leaves behind.

The kernel signals our direct children when the runner dies (`stack.process.process`), but not
their children, and a paused process does not react. The runner sends the reaper each process group
that it starts. When the runner ends in whatever way, the reaper's standard input closes and it ends
the groups that are left. It holds the runner's lock meanwhile, so a new start waits until the old
stack is gone.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

_GRACE = 10.0


class Reaper:
    """The reaper process, as the runner sees it."""

    def __init__(self, lock: int) -> None:
        """Start the reaper, which keeps the file descriptor `lock` open while it runs."""
        self._lock = lock
        self._groups: set[int] = set()
        self._popen = self._start()

    @property
    def pid(self) -> int:
        """Process id of the reaper."""
        return self._popen.pid

    def add(self, group: int) -> None:
        """Have this process group ended when the runner dies."""
        self._groups.add(group)
        self._send_line(f"+{group}\n")

    def remove(self, group: int) -> None:
        """Remove a group that has ended: its id may be reused."""
        self._groups.discard(group)
        self._send_line(f"-{group}\n")

    def replace_if_ended(self) -> bool:
        """Start a new reaper if this one has ended; whether it had.

        Raises:
            OSError: A new one cannot be started now.
        """
        if self._popen.poll() is None:
            return False
        self.close()
        self._popen = self._start()
        for group in self._groups:
            self._send_line(f"+{group}\n")
        return True

    def close(self) -> None:
        """Have it end the remaining groups, and wait for it."""
        if self._popen.stdin:
            with suppress(OSError):
                self._popen.stdin.close()
        self._popen.wait()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
            cwd="/",
            pass_fds=[self._lock],
            start_new_session=True,  # not reached by Ctrl-C or a closed terminal
        )

    def _send_line(self, line: str) -> None:
        if self._popen.stdin:
            with suppress(OSError):  # it has ended: see `replace_if_ended`
                self._popen.stdin.write(line)


def _alive(groups: set[int]) -> set[int]:
    return {group for group in groups if _send(group, 0)}


def _send(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # gone, and the id perhaps reused
        return False
    return True


def main() -> None:
    """Wait for the runner's end, then end the remaining groups."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    for group in _alive(groups):
        _send(group, signal.SIGTERM)
        _send(group, signal.SIGCONT)  # a paused process would not react
    deadline = time.monotonic() + _GRACE
    while _alive(groups) and time.monotonic() < deadline:
        time.sleep(0.05)
    for group in _alive(groups):
        _send(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
