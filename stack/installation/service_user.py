"""Whom the servers run as: PostgreSQL refuses root, and nothing else needs it either."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from vitals import secure_files

ACCOUNT = "postgres"
"""The unprivileged account that Debian's PostgreSQL package makes."""
OF_PART = {"redis": "redis", "prometheus": "prometheus", "alertmanager": "prometheus"}
"""The accounts that Debian's packages make for other servers."""
OF_PYTHON = "www-data"
"""The account of our own programs: Debian's for what serves the web."""


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

    @property
    def ids(self) -> secure_files.Owner:
        """Its user and group, as an owner of files."""
        return self.uid, self.gid

    def own(self, folder: Path) -> None:
        """Give a folder and all that lies in it to this account; links are not followed."""
        secure_files.chown_tree(folder, self.ids)

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

    Servers that have an account of their own (`named`) run as that.

    Raises:
        LookupError: We are root and the account does not exist (yet).
    """
    if os.geteuid() != 0:
        return None
    if found := named(ACCOUNT):
        return found
    raise LookupError(f"no account {ACCOUNT!r} to run the servers as: python -m stack install")


def users() -> set[int]:
    """Every user that processes of a stack that we started may run as."""
    if os.geteuid() != 0:
        return {os.geteuid()}
    found = map(named, {ACCOUNT, OF_PYTHON, *OF_PART.values()})
    return {0, *(account.uid for account in found if account)}


def named(name: str) -> Account | None:
    """An account of this machine; `None` if there is none of that name."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
