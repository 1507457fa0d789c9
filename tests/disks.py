"""Small disks for tests, of memory: they are really full and really read-only."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


class Disk:
    """A file system of its own.

    Attributes:
        place: Where it is mounted.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self._filler = place / "filler"

    def fill(self) -> None:
        """Leave no byte free."""
        with self._filler.open("ab", buffering=0) as file, suppress(OSError):
            for size in (1 << 20, 4096, 1):
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    def free(self) -> None:
        """Take away what filled it."""
        self._filler.unlink()

    def forbid_writing(self) -> None:
        """Make it read-only, which is refused while a file is open for writing."""
        _mount("-o", "remount,ro", str(self.place))

    def allow_writing(self) -> None:
        """Make it writable again."""
        _mount("-o", "remount,rw", str(self.place))


@contextmanager
def disk(place: Path, size: str) -> Iterator[Disk]:
    """Mount a disk; the test is skipped where that is not allowed.

    Args:
        place: An empty folder.
        size: Such as ``100k``.
    """
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(place)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"no disk can be mounted here, so none can be full: {done.stderr.strip()}")
    try:
        yield Disk(place)
    finally:
        # Lazily: whoever fails a test may leave a file open there.
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True, text=True)
