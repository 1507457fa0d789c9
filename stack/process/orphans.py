"""Orphans: processes of a killed stack. Finds and ends them by pid and start time, never by name.

When the runner ends, the kernel ends its processes, and the reaper ends their children. If both are
killed at once, some may survive. They are found by a marker in their environment, which identifies
the data folder, or by the pid and start time in the process record.
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
from vitals.metrics import process_identity

MARKER_VARIABLE = "VITALS_STACK"
"""Environment variable of every process of a stack: device and inode of its data folder."""
_GRACE_SECONDS = 25.0
_KILL_SECONDS = 5.0


@dataclass(frozen=True)
class Orphan:
    """A process of a stack that was killed.

    Attributes:
        service: The service that it belongs to.
        start_time: In clock ticks since boot.
    """

    service: str
    pid: int
    start_time: int

    def __str__(self) -> str:
        return f"{self.service:<13} pid {self.pid}"


class OrphansError(RuntimeError):
    """Processes of a killed stack do not end."""


def marker(data: Path) -> str:
    """Value of the marker variable for this data folder."""
    status = data.stat()
    return f"{status.st_dev}:{status.st_ino}"


def find(here: Installation) -> list[Orphan]:
    """The processes of a killed stack in this data folder; call only while no stack runs."""
    try:
        marked = f"{MARKER_VARIABLE}={marker(here.data)}".encode()
    except FileNotFoundError:
        return []
    record = here.read_record()
    recorded = {**record.tasks, **record.pids} if record else {}
    services = {pid: name for name, pid in recorded.items()}
    found = [
        Orphan(name, pid, record.start_times[name])
        for pid, name in services.items()
        if record and record.is_alive(name)
    ]
    known = {orphan.pid for orphan in found} | {os.getpid()}
    for pid, group in _find_marked(marked):
        start_time = process_identity.start_time(pid)
        if pid not in known and start_time is not None:
            found.append(Orphan(services.get(group, "unknown service"), pid, start_time))
    return sorted(found, key=lambda orphan: (orphan.service, orphan.pid))


def end(orphans: Sequence[Orphan]) -> None:
    """Terminate them, wait, then kill the rest.

    Raises:
        OrphansError: Some do not end, or may not be signalled; the message names their pids.
    """
    with ExitStack() as opened:
        waiting: dict[int, Orphan] = {}
        for orphan in orphans:
            with suppress(ProcessLookupError):
                file = os.pidfd_open(orphan.pid)
                opened.callback(os.close, file)
                # Opened before the check: from here on the descriptor identifies this process.
                if process_identity.start_time(orphan.pid) == orphan.start_time:
                    waiting[file] = orphan
        for file, orphan in waiting.items():
            stop_signal = signal.SIGINT if orphan.service == "postgres" else signal.SIGTERM
            for number in (
                stop_signal,
                signal.SIGCONT,
            ):  # SIGCONT in case it is paused
                _send(file, number)
        _wait(waiting, _GRACE_SECONDS)
        for file in waiting:
            _send(file, signal.SIGKILL)
        _wait(waiting, _KILL_SECONDS)
        if waiting:
            left = ", ".join(f"{each.service} (pid {each.pid})" for each in waiting.values())
            raise OrphansError(f"processes of a killed stack do not end: {left}: end them by hand")


def _send(file: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        signal.pidfd_send_signal(file, number)


def _wait(waiting: dict[int, Orphan], seconds: float) -> None:
    """Remove those that end in time."""
    deadline = time.monotonic() + seconds
    while waiting and (left := deadline - time.monotonic()) > 0:
        poll = select.poll()
        for file in waiting:
            poll.register(file, select.POLLIN)
        for file, _ in poll.poll(left * 1000):
            del waiting[file]


def _find_marked(marked: bytes) -> Iterator[tuple[int, int]]:
    """Pid and process group of every process of our users with the marker."""
    uids = service_user.possible_uids()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended, or not readable for this user
            if entry.stat().st_uid in uids and marked in (
                (entry / "environ").read_bytes().split(b"\0")
            ):
                yield int(entry.name), os.getpgid(int(entry.name))
