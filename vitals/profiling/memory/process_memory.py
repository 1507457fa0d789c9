"""Memory of this process as the kernel counts it, and the limit that is nearest (Linux)."""

import resource
from dataclasses import dataclass
from pathlib import Path

from vitals.saturation import machine
from vitals.saturation.cgroup import ROOT, Cgroup

_PAGE = resource.getpagesize()
_FIELDS = 3


@dataclass(frozen=True)
class Memory:
    """What a process has in the machine's memory, in bytes.

    Attributes:
        resident: All of it.
        private: Without what files or other processes share with it: what a leak grows.
    """

    resident: int
    private: int


@dataclass(frozen=True)
class Limit:
    """How much memory may be used, in bytes.

    Attributes:
        scope: ``cgroup`` or ``host``.
        used: By all processes of the scope.
        limit: By all of them.
    """

    scope: str
    used: int
    limit: int


def read_memory(root: Path = ROOT) -> Memory | None:
    """The memory of this process; None where the system does not tell it.

    It reads ``statm``, which costs microseconds; ``smaps_rollup`` looks at every page.
    """
    try:
        pages = [int(each) for each in (root / "proc/self/statm").read_bytes().split()[:_FIELDS]]
    except (OSError, ValueError):
        return None
    if len(pages) < _FIELDS:
        return None
    return Memory(pages[1] * _PAGE, max(0, pages[1] - pages[2]) * _PAGE)


def read_limit(root: Path = ROOT) -> Limit | None:
    """The limit that is reached first: that of the cgroup, or of the machine; None if unknown."""
    host, group = machine.memory(root), Cgroup.of_this_process(root).memory()
    if group is not None and (host is None or group.limit < host.limit):
        return Limit("cgroup", int(group.used), int(group.limit))
    return None if host is None else Limit("host", int(host.used), int(host.limit))
