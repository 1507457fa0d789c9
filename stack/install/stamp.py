"""What is made once for one content, by one process at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def once(folder: Path, stamp: Path, content: str) -> Iterator[bool]:
    """Hold a lock on a folder; gives whether what is made there is missing or of other content.

    When the block ends without an error, the stamp says that it is there.

    Args:
        folder: Other processes that make something here wait.
        stamp: A file that is gone when what was made is gone.
        content: What it is made from, such as the digest of a lock file.
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
