"""A lock and a stamp file for installations that are done once, by one process at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def once(folder: Path, stamp: Path, content: str) -> Iterator[bool]:
    """Lock a folder and yield whether the installation in it is missing or outdated.

    The stamp is written when the block ends without an error.

    Args:
        folder: Locked against other processes.
        stamp: A file inside of what is installed, so that it is deleted together with that.
        content: Identifies what is installed, such as the digest of a lock file.
    """
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = not stamp.exists() or stamp.read_text() != content
        yield missing
        if missing:
            stamp.write_text(content)
    finally:
        os.close(lock)
