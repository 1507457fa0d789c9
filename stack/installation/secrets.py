"""The secrets of one installation: generated once, stored in 0600 files, never printed.

`python -m stack.installation.secrets FOLDER` writes them to a folder, as compose.yaml does.
"""

import os
import re
import secrets
import stat
import sys
from pathlib import Path

from service.secret_files import SecretError, refuse_guessable
from stack.installation.service_user import ServiceUser
from vitals import secure_files

NAMES = (
    "jwt-key",  # signs the API's tokens
    "postgres-password",  # PostgreSQL's superuser, for the stack's own administration
    "database-password",  # the API's role
    "monitor-password",  # the role that reads what PostgreSQL says of itself
    "redis-password",
    "redis-monitor-password",  # the user that reads what Redis says of itself
    "metrics-token",  # Prometheus sends it to /metrics
    "admin-password",  # admin@example.com of the sample data
    "demo-password",  # user<N>@example.com of the sample data
    "grafana-password",
    "door-password",  # of the login of PUBLIC_URL
)
MIN_LENGTH = 16
"""Minimum length of a secret that was provided by hand."""
MAX_BYTES = 10_000
"""At most this many bytes of a secret file are read."""


class WeakSecretError(ValueError):
    """A provided secret is guessable, or has characters that need quoting."""


def make(folder: Path, user: ServiceUser | None) -> None:
    """Generate missing secrets and check existing ones.

    Args:
        folder: Gets mode 0700, its files 0600.
        user: Owner of the files; `None` is the current user.

    Raises:
        WeakSecretError: A file holds a known default or a short secret.
        UnsafePathError: The folder or a file is a link.
        OSError: One of them cannot be read or written.
    """
    owner = user.ids if user else (os.geteuid(), os.getegid())
    secure_files.make_directory(folder, owner=owner)
    for name in NAMES:
        path = folder / name
        try:
            text, is_private = _read_with_privacy(path, owner)
        except FileNotFoundError:
            text, is_private = secrets.token_urlsafe(32), False
        _check(path, text)
        if not is_private:  # replaced: the existing file may belong to another user
            secure_files.write(path, text, owner=owner, durable=True)


def read(folder: Path, name: str) -> str:
    """Read one secret.

    Raises:
        OSError: It cannot be read.
    """
    return secure_files.read(folder / name).decode().strip()


def _read_with_privacy(path: Path, owner: secure_files.Owner) -> tuple[str, bool]:
    """A secret, and whether only its owner can read it."""
    with os.fdopen(secure_files.open_file(path, os.O_RDONLY), "rb") as file:
        status = os.fstat(file.fileno())
        text = file.read(MAX_BYTES).decode(errors="replace").strip()
    return text, status.st_uid == owner[0] and stat.S_IMODE(status.st_mode) == 0o600  # noqa: PLR2004


def _check(path: Path, text: str) -> None:
    if not re.fullmatch(r"[\w.~+/=-]*", text, re.ASCII):
        raise WeakSecretError(f"{path}: only letters, digits and - _ . ~ + / = are allowed")
    try:
        refuse_guessable(text, str(path), least=MIN_LENGTH)
    except SecretError as error:
        raise WeakSecretError(f"{error}; or delete the file to have one generated") from None


if __name__ == "__main__":
    make(Path(sys.argv[1]), None)
