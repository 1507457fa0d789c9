"""Service users: unprivileged users that run the servers. PostgreSQL refuses to run as root."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from vitals import secure_files

DEFAULT_USER = "postgres"
"""The unprivileged user that Debian's PostgreSQL package creates."""
USER_OF_SERVICE = {
    "redis": "redis",
    "prometheus": "prometheus",
    "alertmanager": "prometheus",
    "door": "caddy",
}
"""The users that Debian's packages create for other servers."""
PYTHON_USER = "www-data"
"""The user of the stack's own programs: Debian's user for web servers."""


@dataclass(frozen=True)
class ServiceUser:
    """An unprivileged user that runs servers started by root.

    Attributes:
        capabilities: What its servers keep of root, such as ``net_bind_service``.
    """

    name: str
    uid: int
    gid: int
    capabilities: tuple[str, ...] = ()

    @property
    def setpriv_options(self) -> list[str]:
        """Options of setpriv(1) that drop root permanently."""
        kept = ",".join(f"+{each}" for each in self.capabilities)
        return [
            f"--reuid={self.uid}",
            f"--regid={self.gid}",
            "--init-groups",
            f"--inh-caps=-all{kept and ','}{kept}",
            *([f"--ambient-caps=-all,{kept}"] if kept else ()),
            f"--bounding-set=-all{kept and ','}{kept}",
            "--no-new-privs",
        ]

    @property
    def ids(self) -> secure_files.Owner:
        """Its uid and gid, as an owner of files."""
        return self.uid, self.gid

    def chown(self, folder: Path) -> None:
        """Change the owner of a folder and its content to this user; links are not followed."""
        secure_files.chown_tree(folder, self.ids)

    def can_reach(self, folder: Path) -> bool:
        """Whether this user may enter a folder (or its last existing parent)."""
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


def default_user() -> ServiceUser | None:
    """The user for servers started by root; `None` if the current user is not root.

    Servers that have a user of their own (`USER_OF_SERVICE`) run as that one.

    Raises:
        LookupError: The current user is root and the service user does not exist yet.
    """
    if os.geteuid() != 0:
        return None
    for name in (DEFAULT_USER, *USER_OF_SERVICE.values()):  # a watch alone has no PostgreSQL
        if found := lookup(name):
            return found
    raise LookupError(
        f"no user {DEFAULT_USER} or prometheus for the servers, which do not run as root: "
        "apt-get install prometheus makes the latter"
    )


def possible_uids() -> set[int]:
    """Uids that processes of a stack started by the current user may have."""
    if os.geteuid() != 0:
        return {os.geteuid()}
    found = map(lookup, {DEFAULT_USER, PYTHON_USER, *USER_OF_SERVICE.values()})
    return {0, *(user.uid for user in found if user)}


def lookup(name: str) -> ServiceUser | None:
    """The user of that name; `None` if there is none."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return ServiceUser(entry.pw_name, entry.pw_uid, entry.pw_gid)
