"""The secrets of one installation: made once, kept in 0600 files, never shown.

`python -m stack.installation.secrets FOLDER` writes them to a folder, as compose.yaml does.
"""

import os
import re
import secrets
import stat
import sys
from pathlib import Path

from stack.installation.service_user import Account
from vitals import secure_files

NAMES = (
    "jwt-key",  # signs the API's tokens
    "postgres-password",  # PostgreSQL's superuser, for this stack's own housekeeping
    "database-password",  # the API's role
    "redis-password",
    "metrics-token",  # Prometheus shows it to /metrics
    "admin-password",  # admin@example.com of the sample data
    "demo-password",  # user<N>@example.com of the sample data
    "grafana-password",
)
SHORTEST = 16
"""Characters below which a secret put there by hand is refused."""
LONGEST = 10_000
"""Bytes that are read of one."""

_KNOWN = ("admin", "changeme", "changethis", "default", "example", "password", "postgres", "secret")


class WeakSecretError(ValueError):
    """A secret that somebody put there is a known default or too short."""


def make(folder: Path, account: Account | None) -> None:
    """Make what is missing and check what is there.

    Args:
        folder: Becomes 0700, its files 0600.
        account: Who reads them; `None` is ourselves.

    Raises:
        WeakSecretError: A file holds a known default or a short word.
        UnsafePathError: The folder or a file is a link.
        OSError: One of them cannot be read or made.
    """
    owner = account.ids if account else (os.geteuid(), os.getegid())
    secure_files.make_directory(folder, owner=owner)
    for name in NAMES:
        path = folder / name
        try:
            text, is_private = _look(path, owner)
        except FileNotFoundError:
            text, is_private = secrets.token_urlsafe(32), False
        _check(path, text)
        if not is_private:  # replaced as a whole: what was there may be somebody else's file
            secure_files.write(path, text, owner=owner, durable=True)


def read(folder: Path, name: str) -> str:
    """One secret.

    Raises:
        OSError: It cannot be read.
    """
    return secure_files.read(folder / name).decode().strip()


def _look(path: Path, owner: secure_files.Owner) -> tuple[str, bool]:
    """A secret, and whether only its owner can read it."""
    with os.fdopen(secure_files.open_file(path, os.O_RDONLY), "rb") as file:
        found = os.fstat(file.fileno())
        text = file.read(LONGEST).decode(errors="replace").strip()
    return text, found.st_uid == owner[0] and stat.S_IMODE(found.st_mode) == 0o600  # noqa: PLR2004


def _check(path: Path, text: str) -> None:
    if not re.fullmatch(r"[\w.~+/=-]*", text, re.ASCII):
        raise WeakSecretError(f"{path} may hold letters, digits and - _ . ~ + / = only")
    bare = "".join(letter for letter in text.lower() if letter.isalpha())
    if len(text) < SHORTEST or any(bare == known * (len(bare) // len(known)) for known in _KNOWN):
        raise WeakSecretError(
            f"{path} holds a known default or fewer than {SHORTEST} characters; "
            "delete the file and a good one is made"
        )


if __name__ == "__main__":
    make(Path(sys.argv[1]), None)
