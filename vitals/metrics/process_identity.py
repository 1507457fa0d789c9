"""Identifies a process by pid and start time, because pids are reused."""

import os
from pathlib import Path

UNKNOWN = 0
"""The start time of a live process on a system without ``/proc``."""

_DEAD_STATES = b"ZX"
"""States of a process that has ended but has not been reaped."""


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if it is dead.

    On systems without ``/proc`` this is ``UNKNOWN`` for every live process, so a reused pid is
    taken for its predecessor.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _signal_check(pid)
    except OSError:
        return None  # it ended meanwhile
    # The second field is the program's name in parentheses, and may contain spaces and ``)``.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in _DEAD_STATES else int(fields[19])


def unix_start_time(pid: int) -> float | None:
    """When a process started, as Unix time; None on systems without ``/proc``."""
    ticks = start_time(pid)
    if not ticks:
        return None
    lines = Path("/proc/stat").read_text().splitlines()
    boot_time = next((line.split()[1] for line in lines if line.startswith("btime ")), None)
    return None if boot_time is None else int(boot_time) + ticks / os.sysconf("SC_CLK_TCK")


def _signal_check(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return UNKNOWN
