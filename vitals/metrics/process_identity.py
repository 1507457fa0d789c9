"""Whether a process still lives, known by more than its pid: pids are given out again."""

import os
from pathlib import Path

UNKNOWN = 0
"""The birth of a process on a system that does not tell."""

_DEAD = b"ZX"
"""States of a process that has ended but has not been waited for."""


def birth(pid: int) -> int | None:
    """When a process started, in clock ticks since the system did; None if it is dead.

    Systems without ``/proc`` do not say when: there the answer is ``UNKNOWN`` for every living
    process, and a pid that was given out again passes for its predecessor.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _answering(pid)
    except OSError:
        return None  # it ended while we looked
    # The second field is the program's name in brackets, and may itself hold spaces and brackets.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in _DEAD else int(fields[19])


def started_at(pid: int) -> float | None:
    """When a process started as Unix time; None where the system does not tell."""
    ticks = birth(pid)
    if not ticks:
        return None
    lines = Path("/proc/stat").read_text().splitlines()
    booted = next((line.split()[1] for line in lines if line.startswith("btime ")), None)
    return None if booted is None else int(booted) + ticks / os.sysconf("SC_CLK_TCK")


def _answering(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return UNKNOWN
