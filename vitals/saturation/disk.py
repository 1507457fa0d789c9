"""Space on the file systems of folders that a service, or what it depends on, writes to."""

import os
from collections.abc import Mapping
from pathlib import Path

from vitals.saturation.cgroup import Usage

VARIABLE = "VITALS_FOLDERS"
"""Environment variable with folders by name: ``NAME=PATH``, separated as paths in ``PATH`` are."""
MAX_FOLDERS = 20

Folders = Mapping[str, str | os.PathLike[str]]


def folders(given: Folders | None) -> dict[str, Path]:
    """The folders to measure, by the name in their label.

    Args:
        given: Those of the code; None for those of ``VITALS_FOLDERS``.

    Raises:
        ValueError: The variable has an entry without name or path, or there are too many folders.
    """
    if given is None:
        entries = [entry for entry in os.environ.get(VARIABLE, "").split(os.pathsep) if entry]
        given = {}
        for entry in entries:
            name, _, path = entry.partition("=")
            if not name or not path:
                raise ValueError(f"{VARIABLE}: {entry!r} must be NAME=PATH")
            given[name] = path
    if len(given) > MAX_FOLDERS:
        raise ValueError(f"at most {MAX_FOLDERS} folders can be measured, not {len(given)}")
    return {name: Path(path) for name, path in given.items()}


def usage(folder: Path) -> Usage | None:
    """Bytes that cannot be written any more, and all; None if the folder cannot be looked at.

    What is reserved for the superuser counts as used.
    """
    try:
        found = os.statvfs(folder)
    except (OSError, AttributeError):  # no such folder; no such function
        return None
    size = found.f_blocks * found.f_frsize
    return Usage(size - found.f_bavail * found.f_frsize, size) if size else None
