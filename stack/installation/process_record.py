"""The process record: a file with the process of each service, for `status`, `drill` and restarts.

A process is identified by its pid and start time, because pids are reused. The file is created at
its full size and overwritten in place, so that it can be updated on a full disk.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from stack.installation.ports import Ports
from vitals import secure_files
from vitals.metrics.process_identity import start_time

_SIZE = 8192


@dataclass(frozen=True)
class ProcessRecord:
    """The processes of a stack.

    Attributes:
        ports: The ports of its services.
        ready: Whether all services were ready.
        pids: Pid of each server.
        tasks: Pid of each service that ends by itself.
        start_times: Start time of each process, in clock ticks since boot.
        states: State of each service: waiting, starting, ready, ended, done, failed.
        ends: How often each ended without having been asked to.
        public: The public address, if any.
    """

    ports: Ports
    ready: bool = False
    pids: Mapping[str, int] = field(default_factory=dict)
    tasks: Mapping[str, int] = field(default_factory=dict)
    start_times: Mapping[str, int] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)
    ends: Mapping[str, int] = field(default_factory=dict)
    public: str = ""

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read the file; `None` if it is missing or invalid.

        Raises:
            OSError: It cannot be read.
        """
        try:
            content = json.loads(secure_files.read(path))
            return cls(**{**content, "ports": Ports(**content["ports"])})
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return None

    def is_alive(self, name: str) -> bool:
        """Whether the process of a service is still running."""
        pid = self.pids.get(name) or self.tasks.get(name)
        return pid is not None and start_time(pid) == self.start_times.get(name)


class RecordWriter:
    """Writes the process record; used by the runner.

    Args:
        path: The file; replaced if it exists.
        ports: The ports of the services.
        public: The public address, if any.

    Raises:
        OSError: The file cannot be written.
    """

    def __init__(self, path: Path, ports: Ports, public: str = "") -> None:
        self._path = path
        self._record = ProcessRecord(ports, public=public)
        secure_files.write(path, self._content(), mode=0o644)
        self._file = secure_files.open_file(path, os.O_RDWR)

    def update(self, name: str, state: str, *, pid: int, ends: int, task: bool) -> None:
        """Record the state of a service, and its process; a pid of 0 is none."""
        changes: dict[str, Mapping[str, object]] = {
            "states": {**self._record.states, name: state},
            "ends": {**self._record.ends, name: ends},
        }
        recorded = self._record.tasks if task else self._record.pids
        if pid and recorded.get(name) != pid:
            changes["tasks" if task else "pids"] = {**recorded, name: pid}
            changes["start_times"] = {**self._record.start_times, name: start_time(pid) or 0}
        self._change(**changes)

    def set_ready(self) -> None:
        """Record that all services are ready."""
        self._change(ready=True)

    def close(self) -> None:
        """Remove the file after the processes have ended."""
        os.close(self._file)
        with suppress(OSError):
            secure_files.remove(self._path)

    def _change(self, **changes: object) -> None:
        self._record = ProcessRecord(**{**vars(self._record), **changes})
        with suppress(OSError):  # some file systems need free space even for this
            os.pwrite(self._file, self._content(), 0)

    def _content(self) -> bytes:
        return json.dumps(asdict(self._record)).encode().ljust(_SIZE)
