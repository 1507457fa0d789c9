"""The secrets of one installation: made once, kept in 0600 files, never shown.

Run as `python -m stack.secrets FOLDER` it makes them into a folder: compose.yaml does that.
"""

import os
import re
import secrets
import sys
from pathlib import Path

from stack.account import Account

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
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name in NAMES:
        path = folder / name
        if not path.exists():
            _write(path, secrets.token_urlsafe(32))
        path.chmod(0o600)
        _check(path)
    if account:
        account.own(folder)


def read(folder: Path, name: str) -> str:
    """One secret."""
    return (folder / name).read_text().strip()


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.rename(path)  # whole or not at all


def _check(path: Path) -> None:
    text = path.read_text().strip()
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
