"""A lock and a stamp file for what is installed or built once, by one process at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder against other processes; not reentrant.

    Not filelock: it locks a file of its own, which would be among the sources.
    """
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


@contextmanager
def once(stamp: Path, content: str) -> Iterator[bool]:
    """Yield whether what the stamp belongs to is missing or outdated; call it while locked.

    The stamp is written when the block ends without an error.

    Args:
        stamp: A file inside of what is installed, so that it is deleted together with that.
        content: Identifies what is installed, such as the digest of a lock file.
    """
    missing = not is_current(stamp, content)
    yield missing
    if missing:
        stamp.write_text(content)


def is_current(stamp: Path, content: str) -> bool:
    """Whether the stamp exists with this content."""
    return stamp.exists() and stamp.read_text() == content
