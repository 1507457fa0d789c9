"""Limits and use of the control group that a process is in: CPU, memory, tasks (cgroup v1 and v2).

Linux only; whatever is not there is None. A limit of a parent counts too, so each figure is that of
the group, from the process's own up to the topmost visible, that leaves least.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
NO_LIMIT = 1 << 60
"""cgroup v1 has no word for "no limit", but a number about as large as an address can be."""


@dataclass(frozen=True)
class Usage:
    """How much of something is used, and how much there may be: bytes, or tasks."""

    used: float
    limit: float


@dataclass(frozen=True)
class Throttling:
    """What the CPU quota of a group has done since the group was made.

    Attributes:
        periods: Periods in which the group wanted to run.
        throttled: Those in which it used up its quota and had to wait.
        seconds: How long its threads waited, in all.
    """

    periods: float
    throttled: float
    seconds: float


@dataclass(frozen=True)
class Cgroup:
    """The groups of one process, by controller.

    Attributes:
        unified: Folders of cgroup v2, the process's own first, then its parents.
        controllers: Folders of cgroup v1 by controller, in the same order.
    """

    unified: tuple[Path, ...]
    controllers: dict[str, tuple[Path, ...]]

    @classmethod
    def of_this_process(cls, root: Path = ROOT) -> "Cgroup":
        """Find the groups of this process.

        Args:
            root: The folder with ``proc`` and ``sys``.
        """
        mounted = root / "sys/fs/cgroup"
        unified: tuple[Path, ...] = ()
        controllers: dict[str, tuple[Path, ...]] = {}
        for line in _text(root / "proc/self/cgroup").splitlines():
            number, names, path = [*line.split(":", 2), "", ""][:3]
            if not names and number == "0":
                hybrid = mounted / "unified"
                unified = _folders(hybrid if hybrid.is_dir() else mounted, path)
                continue
            for name in names.split(","):
                found = (_folders(mounted / folder, path) for folder in (name, names))
                controllers[name] = next(filter(None, found), ())
        return cls(unified, controllers)

    def memory(self) -> Usage | None:
        """Bytes in use, without cached files that can be dropped, and their limit."""
        return _tightest(self._memory())

    def _memory(self) -> Iterator[Usage]:
        for folder in self.unified:
            yield from _usage(folder / "memory.current", folder / "memory.max", "inactive_file")
        for folder in self.controllers.get("memory", ()):
            yield from _usage(
                folder / "memory.usage_in_bytes",
                folder / "memory.limit_in_bytes",
                "total_inactive_file",
            )

    def tasks(self) -> Usage | None:
        """Processes and threads that exist, and how many may exist."""
        folders = (*self.unified, *self.controllers.get("pids", ()))
        return _tightest(
            usage
            for folder in folders
            for usage in _usage(folder / "pids.current", folder / "pids.max")
        )

    def cores(self) -> float | None:
        """How many CPUs' time may be used, by quota."""
        return min((quota for quota, _ in self._quotas()), default=None)

    def throttling(self) -> Throttling | None:
        """What the tightest CPU quota has done."""
        found = sorted(self._quotas(), key=lambda each: each[0])
        for _, folder in found:
            stat = _table(folder / "cpu.stat")
            seconds = stat.get("throttled_usec", 0) / 1e6 + stat.get("throttled_time", 0) / 1e9
            if "nr_periods" in stat:
                return Throttling(stat["nr_periods"], stat.get("nr_throttled", 0), seconds)
        return None

    def _quotas(self) -> Iterator[tuple[float, Path]]:
        """Cores and the folder of each group with a quota."""
        for folder in self.unified:
            quota, period = [*_text(folder / "cpu.max").split(), "max", "max"][:2]
            if quota.isdigit() and period.isdigit() and int(period):
                yield int(quota) / int(period), folder
        for folder in self.controllers.get("cpu", ()):
            of, within = (_number(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
            if of is not None and within and of > 0:
                yield of / within, folder

    def pressure(self, resource: str) -> Path | None:
        """The file with the group's pressure stall information: ``cpu``, ``memory`` or ``io``."""
        own = self.unified[0] if self.unified else ROOT
        file = own / f"{resource}.pressure"
        # The topmost group of all has no type, and the pressure of the machine.
        return file if file.exists() and (own / "cgroup.type").exists() else None


def _folders(mounted: Path, path: str) -> tuple[Path, ...]:
    """A group's folder and its parents', as far as they are visible.

    In a container the path may be that of the host, while only the container's group is mounted.
    """
    own = mounted / path.strip("/")
    if ".." in own.parts or not own.is_dir():
        own = mounted
    chain = (own, *own.parents)
    return chain[: chain.index(mounted) + 1] if mounted.is_dir() else ()


def _usage(used: Path, limit: Path, reclaimable: str = "") -> Iterator[Usage]:
    current, most = _number(used), _number(limit)
    if current is None or most is None or most >= NO_LIMIT:
        return
    if reclaimable:
        current -= _table(used.parent / "memory.stat").get(reclaimable, 0)
    yield Usage(max(0.0, current), most)


def _tightest(found: Iterator[Usage]) -> Usage | None:
    return min(found, key=lambda usage: usage.limit - usage.used, default=None)


def _text(file: Path) -> str:
    try:
        return file.read_text("ascii", "replace")
    except OSError:
        return ""


def _number(file: Path) -> float | None:
    try:
        return float(int(_text(file)))
    except ValueError:  # "max", or nothing
        return None


def _table(file: Path) -> dict[str, float]:
    rows = (line.split() for line in _text(file).splitlines())
    return {row[0]: float(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}  # noqa: PLR2004
