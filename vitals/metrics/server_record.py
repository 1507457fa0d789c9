"""Notes on this machine how servers end, so that a planned restart does not count as a crash.

A server is one process, or the parent of workers. Each process that serves has a small file; it is
marked when the process ends by plan. The next server of the same application and address reads what
its predecessor left. Where nothing is left, as in a new container, the end counts as unplanned.
"""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from vitals.metrics import worker_discovery
from vitals.metrics.process_identity import UNKNOWN, start_time, unix_start_time
from vitals.metrics.worker_directory import make_private

FORGET_SECONDS = 3_600.0
"""Age from which on the files of ended processes are removed."""

_PLANNED, _OPEN = "planned", "open"


class _Entry(NamedTuple):
    """What one process noted.

    Attributes:
        path: Its file: ``end-<application>-<pid>-<start time>``.
        alive: Whether it lives.
        server: Pid and start time of its server.
        planned_start: See ``vitals.metrics.catalogue.PLANNED_START_TIME``.
        ended: Whether it ended by plan.
    """

    path: Path
    alive: bool
    server: tuple[int, int]
    planned_start: float
    ended: bool


class ServerRecord:
    """The file of this process.

    Args:
        base: The directory of all of them.
        application: Id of the application and of the address that it serves.

    Attributes:
        planned_start: When this server, or the last one before it, was started after an end by
            plan, as Unix time; 0 if that is not known.

    Raises:
        OSError: The directory cannot be used.
    """

    def __init__(self, base: Path, application: str) -> None:
        pid = os.getpid()
        server = worker_discovery.server_pid() or pid
        self._server = (server, start_time(server) or UNKNOWN)
        make_private(base)
        self._path = base / f"end-{application}-{pid}-{start_time(pid) or UNKNOWN}"
        entries = [entry for path in base.glob("end-*") if (entry := _read(path)) is not None]
        _forget(entries)
        own = [entry for entry in entries if entry.path.name.startswith(f"end-{application}-")]
        self.planned_start = self._planned_start(own)
        self._write(_OPEN)

    def mark_planned(self) -> None:
        """Note that this process ends by plan."""
        with suppress(OSError):
            self._write(_PLANNED)

    def _planned_start(self, entries: list[_Entry]) -> float:
        """Read what the other workers or the predecessor noted, and remove what has ended."""
        others = [entry for entry in entries if entry.server == self._server]
        ended = [entry for entry in entries if not entry.alive and entry not in others]
        before = max((entry.server for entry in ended), key=lambda it: it[1], default=None)
        left = [entry for entry in ended if entry.server == before]
        for entry in (*ended, *(entry for entry in others if not entry.alive)):
            entry.path.unlink(missing_ok=True)
        if others:
            return max(entry.planned_start for entry in others)
        if left and all(entry.ended for entry in left):
            return unix_start_time(self._server[0]) or time.time()
        return max((entry.planned_start for entry in left), default=0.0)

    def _write(self, state: str) -> None:
        pid, started = self._server
        self._path.write_text(f"{pid} {started} {self.planned_start!r} {state}")


def _read(path: Path) -> _Entry | None:
    with suppress(OSError, ValueError):
        pid, started = map(int, path.name.split("-")[-2:])
        server, server_started, planned_start, state = path.read_text().split()
        return _Entry(
            path,
            start_time(pid) == started,
            (int(server), int(server_started)),
            float(planned_start),
            state == _PLANNED,
        )
    return None


def _forget(entries: list[_Entry]) -> None:
    """Remove the old files of ended processes: few servers use the same port again in tests."""
    for entry in entries:
        with suppress(FileNotFoundError):
            if not entry.alive and time.time() - entry.path.stat().st_mtime > FORGET_SECONDS:
                entry.path.unlink()
