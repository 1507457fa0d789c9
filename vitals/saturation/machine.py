"""Memory and pressure stall information (PSI) of the machine (Linux)."""

from pathlib import Path

from vitals.saturation.cgroup import ROOT, Usage

RESOURCES = ("cpu", "memory", "io")
"""What the kernel measures the pressure of."""


def memory(root: Path = ROOT) -> Usage | None:
    """Bytes in use and in all, as the kernel estimates what is available; None if it does not."""
    sizes: dict[str, float] = {}
    try:
        for line in (root / "proc/meminfo").read_text("ascii").splitlines():
            name, _, size = line.partition(":")
            if name in {"MemTotal", "MemAvailable"}:
                sizes[name] = int(size.split()[0]) * 1024
        return Usage(sizes["MemTotal"] - sizes["MemAvailable"], sizes["MemTotal"])
    except (OSError, ValueError, LookupError):
        return None


def pressure_file(resource: str, root: Path = ROOT) -> Path:
    """The file with the machine's pressure: ``cpu``, ``memory`` or ``io``."""
    return root / "proc/pressure" / resource


def stalled(file: Path) -> float | None:
    """Seconds in which at least one task waited; None where the kernel does not measure it.

    Args:
        file: A file of pressure stall information, of the machine or of a cgroup.
    """
    try:
        for line in file.read_text("ascii").splitlines():
            words = line.split()
            if words and words[0] == "some":
                return int(words[-1].removeprefix("total=")) / 1e6
    except (OSError, ValueError):
        pass
    return None
