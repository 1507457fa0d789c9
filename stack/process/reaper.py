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


class Keeper:
    """The runner's side."""

    def __init__(self, lock: int) -> None:
        """Start the keeper, which holds the file descriptor `lock` as long as it lives."""
        self._lock = lock
        self._groups: set[int] = set()
        self._popen = self._start()

    @property
    def pid(self) -> int:
        """Process id of the keeper."""
        return self._popen.pid

    def watch(self, group: int) -> None:
        """End this process group should we die."""
        self._groups.add(group)
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """The group has ended: its number may soon be a stranger's."""
        self._groups.discard(group)
        self._tell(f"-{group}\n")

    def replace_if_ended(self) -> bool:
        """Start another keeper if this one was ended; whether it was.

        Raises:
            OSError: No other can be started now.
        """
        if self._popen.poll() is None:
            return False
        self.close()
        self._popen = self._start()
        for group in self._groups:
            self._tell(f"+{group}\n")
        return True

    def close(self) -> None:
        """Let it end whatever is left, and wait for it."""
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
            start_new_session=True,  # a Ctrl-C or a closed terminal is not for it
        )

    def _tell(self, line: str) -> None:
        if self._popen.stdin:
            with suppress(OSError):  # it was ended: see `replace_if_ended`
                self._popen.stdin.write(line)


def _alive(groups: set[int]) -> set[int]:
    return {group for group in groups if _send(group, 0)}


def _send(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # gone, and perhaps a stranger's number by now
        return False
    return True


def main() -> None:
    """Wait for the runner's end, then end what is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    for group in _alive(groups):
        _send(group, signal.SIGTERM)
        _send(group, signal.SIGCONT)  # a paused process hears nothing else
    deadline = time.monotonic() + _GRACE
    while _alive(groups) and time.monotonic() < deadline:
        time.sleep(0.05)
    for group in _alive(groups):
        _send(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
