"""Which process is which part, kept in a file for `status`, `drill` and the next start.

A process is known by its pid and when it started, since pids are given out again. The file has its
full size from the start and is overwritten in place, so that a disk that fills up later cannot
keep us from telling the truth.
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
class Running:
    """What a stack noted of itself.

    Attributes:
        ports: Where its parts listen.
        ready: Whether all parts were ready.
        pids: The process of each server.
        tasks: The process of each part that ends by itself.
        births: When each of those processes started, in clock ticks since the system did.
    """

    ports: Ports
    ready: bool = False
    pids: Mapping[str, int] = field(default_factory=dict)
    tasks: Mapping[str, int] = field(default_factory=dict)
    births: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """What the file says; `None` if there is none, or it says nothing that makes sense.

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

    def lives(self, name: str) -> bool:
        """Whether the process of a part runs still."""
        pid = self.pids.get(name) or self.tasks.get(name)
        return pid is not None and start_time(pid) == self.births.get(name)


class Record:
    """The runner's side of the file.

    Args:
        path: The file; replaced.
        ports: Where the parts listen.

    Raises:
        OSError: There is no room for it.
    """

    def __init__(self, path: Path, ports: Ports) -> None:
        self._path = path
        self._running = Running(ports)
        secure_files.write(path, self._content(), mode=0o644)
        self._file = secure_files.open_file(path, os.O_RDWR)

    def add(self, name: str, pid: int, *, task: bool) -> None:
        """Note the process of a part."""
        of_kind = self._running.tasks if task else self._running.pids
        self._change(
            **{"tasks" if task else "pids": {**of_kind, name: pid}},
            births={**self._running.births, name: start_time(pid) or 0},
        )

    def set_ready(self) -> None:
        """Note that all parts are ready."""
        self._change(ready=True)

    def close(self) -> None:
        """Remove the file: the processes have ended."""
        os.close(self._file)
        with suppress(OSError):
            secure_files.remove(self._path)

    def _change(self, **changes: object) -> None:
        self._running = Running(**{**vars(self._running), **changes})
        with suppress(OSError):  # some file systems want room for this, too
            os.pwrite(self._file, self._content(), 0)

    def _content(self) -> bytes:
        return json.dumps(asdict(self._running)).encode().ljust(_SIZE)
