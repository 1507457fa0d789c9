"""Secret files, readable by their owner only; secrets are never shown or logged."""

import secrets
from contextlib import suppress
from pathlib import Path

from vitals import secure_files

KNOWN = frozenset(
    (
        "admin",
        "adminadmin",
        "admin123",
        "administrator",
        "change-me",
        "change_me",
        "changeit",
        "changeme",
        "changethis",
        "default",
        "demo",
        "example",
        "guest",
        "letmein",
        "pass",
        "passw0rd",
        "password",
        "password1",
        "password123",
        "postgres",
        "qwerty",
        "redis",
        "root",
        "secret",
        "secretkey",
        "secret-key",
        "supersecret",
        "test",
        "testtest",
        "token",
        "vitals",
        "welcome",
        "your-secret-key",
        "your-256-bit-secret",
        "12345678",
        "123456789",
        "1234567890",
    )
)
"""Defaults from installation guides."""


DISTINCT = 10
"""Least number of different characters of a key; of a shorter secret, half its minimum length."""


class SecretError(Exception):
    """A secret is missing, unreadable or guessable; the message names it, never shows it."""


def refuse_guessable(value: str, what: str, *, least: int) -> None:
    """Refuse a guessable secret.

    Args:
        value: The secret; it never appears in the message.
        what: Its name in the message, such as "the JWT key".
        least: Minimum length in characters.

    Raises:
        SecretError: It is a known default, a few characters repeated, or too short.
    """
    plain = value.casefold()
    # Repeated ("changeme" four times) or decorated ("ChangeMe-123") defaults are still defaults.
    letters = "".join(filter(str.isalpha, plain))
    known = any(
        text and word and word * (len(text) // len(word)) == text
        for word in KNOWN | {"".join(filter(str.isalpha, word)) for word in KNOWN}
        for text in (plain, letters)
    )
    if known or len(set(plain)) < min(DISTINCT, least // 2):
        raise SecretError(f"{what} is a known default; make one: openssl rand -hex 32")
    if len(value) < least:
        raise SecretError(f"{what} is shorter than {least} characters; try: openssl rand -hex 32")


def read_secret(path: Path, what: str, *, least: int) -> str:
    """Read a secret from a file, without the trailing newline.

    Raises:
        SecretError: The file cannot be read, or holds what :func:`refuse_guessable` refuses.
    """
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SecretError(f"cannot read {what} from {path}: {error}") from error
    refuse_guessable(value, f"{what} in {path}", least=least)
    return value


def made_secret(path: Path, what: str, *, least: int) -> str:
    """Read a secret, or generate it (mode 0600, 64 hex digits) if the file does not exist.

    Several workers may start at once: the file is created atomically, and the first one wins.

    Raises:
        SecretError: The file cannot be written or read, or its content is refused.
    """
    if not path.exists():
        try:
            _create(path)
        except OSError as error:
            raise SecretError(f"cannot make {what} at {path}: {error}") from error
    return read_secret(path, what, least=least)


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):  # another worker was first: its secret is used
        secure_files.write(path, secrets.token_hex(32) + "\n", replace=False)
