"""Run-queue delay: how long a thread was ready to run but waited for a CPU (Linux)."""

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_NANOSECONDS = 1e9


class Times(NamedTuple):
    """The times of a thread since it started.

    Attributes:
        ran: Seconds for which it ran on a CPU.
        waited: Seconds for which it was ready to run but waited for one.
        slices: How often it was given one.
    """

    ran: float
    waited: float
    slices: int = 0


class RunQueue:
    """The run-queue delay of the thread that creates this object.

    The kernel counts it in the second field of ``/proc/PID/task/TID/schedstat``, after the time
    run. Time in which a cgroup without CPU quota left is throttled is part of it; time that a
    hypervisor takes is not.
    The file stays open, so that a reading costs microseconds and needs no free descriptor.

    Args:
        tasks: The folder of the process's threads.
    """

    def __init__(self, tasks: Path = Path("/proc/self/task")) -> None:
        self._file: int | None = None
        with suppress(OSError):  # no Linux, or no scheduler statistics
            path = tasks / str(threading.get_native_id()) / "schedstat"
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def waited(self) -> float | None:
        """Seconds waited since the thread started; None where the system does not count them."""
        times = self.times()
        return None if times is None else times.waited

    def times(self) -> "Times | None":
        """The thread's times; None where the system does not count them.

        Any thread may ask; of a thread that runs, they are up to a tick of the scheduler old.
        """
        return times_of(self.read())

    def read(self) -> bytes:
        """The thread's times as the kernel writes them, for ``times_of``; empty if unknown."""
        if self._file is None:
            return b""
        try:
            return os.pread(self._file, 80, 0)
        except OSError:  # the thread has ended
            return b""

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def times_of(read: bytes) -> Times | None:
    """The times that were read; None if they are unknown."""
    try:
        ran, waited, slices = map(int, read.split()[:3])
    except ValueError:
        return None
    return Times(ran / _NANOSECONDS, waited / _NANOSECONDS, slices)
