"""Whom the servers run as: PostgreSQL refuses root, and nothing else needs it either."""

import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ACCOUNT = "postgres"
"""The unprivileged account that Debian's PostgreSQL package makes."""


@dataclass(frozen=True)
class Account:
    """An unprivileged user that root hands its servers to."""

    name: str
    uid: int
    gid: int

    @property
    def prefix(self) -> list[str]:
        """The words before a command that drop root for good."""
        return [
            f"--reuid={self.uid}",
            f"--regid={self.gid}",
            "--init-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
            "--no-new-privs",
        ]

    def own(self, folder: Path) -> None:
        """Give a folder and all that lies in it to this account; links are not followed."""
        for path in _tree(folder):
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def reaches(self, folder: Path) -> bool:
        """Whether this account may walk to a folder (its last existing parent counts)."""
        for parent in (folder, *folder.parents):
            if parent.exists() and not self._may_enter(parent):
                return False
        return True

    def _may_enter(self, folder: Path) -> bool:
        status = folder.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        if status.st_gid == self.gid:
            return bool(status.st_mode & 0o010)
        return bool(status.st_mode & 0o001)


def servant() -> Account | None:
    """Whom root's servers run as; `None` when we are not root and stay who we are.

    Raises:
        LookupError: We are root and the account does not exist (yet).
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(ACCOUNT)
    except KeyError:
        raise LookupError(
            f"no account {ACCOUNT!r} to run the servers as: python -m stack install"
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _tree(folder: Path) -> Iterator[Path]:
    yield folder
    for where, folders, files in os.walk(folder):
        yield from (Path(where, name) for name in (*folders, *files))
