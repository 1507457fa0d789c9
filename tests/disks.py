"""Small tmpfs file systems for tests, to fill up or to make read-only."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


class Disk:
    """A mounted file system.

    Attributes:
        path: The mount point.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        """Fill it completely."""
        with self._filler.open("ab", buffering=0) as file, suppress(OSError):
            for size in (1 << 20, 4096, 1):
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    def free(self) -> None:
        """Free the space again."""
        self._filler.unlink()

    def forbid_writing(self) -> None:
        """Make it read-only; fails while a file is open for writing."""
        _mount("-o", "remount,ro", str(self.path))

    def allow_writing(self) -> None:
        """Make it writable again."""
        _mount("-o", "remount,rw", str(self.path))


@contextmanager
def disk(path: Path, size: str) -> Iterator[Disk]:
    """Mount a disk; skip the test if that is not permitted.

    Args:
        path: An empty folder.
        size: Such as ``100k``.
    """
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(path)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip()}")
    try:
        yield Disk(path)
    finally:
        # Lazily: a failed test may leave a file open there.
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True, text=True)
