"""Processes that a stack left behind: found, told and ended by what they are, never by name.

The runner's end reaches its processes, and its keeper ends what they started. When both are killed
at once, those may go on. They are known by a mark in their environment, which names the data
folder, or by the pid and the start that the stack noted.
"""

import os
import select
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from stack.installation import service_user
from stack.installation.paths import Installation
from vitals.metrics.process_identity import start_time

VARIABLE = "VITALS_STACK"
"""Set for every process of a stack: the device and inode of the folder of its data."""
_GRACE_SECONDS = 25.0
_KILL_SECONDS = 5.0


@dataclass(frozen=True)
class Orphan:
    """A process of a stack that was killed.

    Attributes:
        part: The part that it belongs to.
        birth: When it started, in clock ticks since the system did.
    """

    part: str
    pid: int
    birth: int

    def __str__(self) -> str:
        return f"{self.part:<13} pid {self.pid}"


class OrphansError(RuntimeError):
    """Processes of a stack that was killed do not end."""


def mark(data: Path) -> str:
    """What the variable says to processes of a stack over this folder."""
    found = data.stat()
    return f"{found.st_dev}:{found.st_ino}"


def find(here: Installation) -> list[Orphan]:
    """The processes that a stack over these data left; ask only while none runs."""
    try:
        marked = f"{VARIABLE}={mark(here.data)}".encode()
    except FileNotFoundError:
        return []
    running = here.read_running()
    noted = {**running.tasks, **running.pids} if running else {}
    parts = {pid: name for name, pid in noted.items()}
    found = [
        Orphan(name, pid, running.births[name])
        for pid, name in parts.items()
        if running and running.lives(name)
    ]
    known = {orphan.pid for orphan in found} | {os.getpid()}
    for pid, group in _marked(marked):
        started = start_time(pid)
        if pid not in known and started is not None:
            found.append(Orphan(parts.get(group, "unknown part"), pid, started))
    return sorted(found, key=lambda orphan: (orphan.part, orphan.pid))


def end(orphans: Sequence[Orphan]) -> None:
    """Ask them to end, wait, and insist.

    Raises:
        OrphansError: Some do not end, or are not ours to end; the message names their pids.
    """
    with ExitStack() as opened:
        waiting: dict[int, Orphan] = {}
        for orphan in orphans:
            with suppress(ProcessLookupError):
                file = os.pidfd_open(orphan.pid)
                opened.callback(os.close, file)
                # Opened first: from here on the descriptor means this very process.
                if start_time(orphan.pid) == orphan.birth:
                    waiting[file] = orphan
        for file, orphan in waiting.items():
            asked = signal.SIGINT if orphan.part == "postgres" else signal.SIGTERM
            for number in (asked, signal.SIGCONT):  # a paused process hears nothing else
                _send(file, number)
        _wait(waiting, _GRACE_SECONDS)
        for file in waiting:
            _send(file, signal.SIGKILL)
        _wait(waiting, _KILL_SECONDS)
        if waiting:
            left = ", ".join(f"{each.part} (pid {each.pid})" for each in waiting.values())
            raise OrphansError(f"left by a stack that was killed, and does not end: {left}")


def _send(file: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        signal.pidfd_send_signal(file, number)


def _wait(waiting: dict[int, Orphan], seconds: float) -> None:
    """Take out those that end in time."""
    deadline = time.monotonic() + seconds
    while waiting and (left := deadline - time.monotonic()) > 0:
        poll = select.poll()
        for file in waiting:
            poll.register(file, select.POLLIN)
        for file, _ in poll.poll(left * 1000):
            del waiting[file]


def _marked(marked: bytes) -> Iterator[tuple[int, int]]:
    """Pid and process group of every process of ours with the mark."""
    ours = service_user.users()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended, or is not ours to look at
            if entry.stat().st_uid in ours and marked in (
                (entry / "environ").read_bytes().split(b"\0")
            ):
                yield int(entry.name), os.getpgid(int(entry.name))
