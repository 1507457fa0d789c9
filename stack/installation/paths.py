"""Paths, ports and service users of one installation of the stack."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from stack.installation.ports import Ports
from stack.installation.process_record import ProcessRecord
from stack.installation.public_url import VARIABLE, PublicUrl
from stack.installation.service_user import (
    PYTHON_USER,
    USER_OF_SERVICE,
    ServiceUser,
    default_user,
    lookup,
)
from vitals import secure_files

CHECKOUT = Path(__file__).resolve().parents[2]
"""The checkout, or the folder of the installed package, which has the same layout."""
DATA = "VITALS_DATA"
"""The variable that names the folder of all data."""
_PROBE = "import stack, sys, yaml; print(sys.version.replace(chr(10), ' '))"
_MAX_WORKERS = 16
_VAR_LIB = Path("/var/lib")


@dataclass(frozen=True)
class Installation:
    """One stack on this machine.

    Attributes:
        data: The folder that it writes everything to.
        ports: The ports of its services.
        user: Service user of the servers; `None` keeps the current user.
        workers: Number of worker processes of the API.
        python_user: Service user of the stack's own Python programs; `None` keeps the current user,
            because no service user may read the checkout.
        users: Service users of single services, instead of `user`.
        public: The address that people on the network open, if any.
        pair: Whether there are two Prometheus and two Alertmanagers (`stack.pair`).
    """

    data: Path
    ports: Ports
    user: ServiceUser | None = None
    python_user: ServiceUser | None = None
    workers: int = 1
    users: Mapping[str, ServiceUser] = field(default_factory=dict)
    public: PublicUrl | None = None
    pair: bool = False

    @classmethod
    def here(cls, environment: Mapping[str, str] = os.environ) -> "Installation":
        """The installation of this checkout: `var/`, or the folder that `VITALS_DATA` names.

        If the servers' user may not enter the checkout (such as root's home), the data are stored
        under /var/lib and `var` links to them.

        Raises:
            PortError: A port setting is wrong.
            PublicUrlError: The public address is.
            LookupError: WORKERS or the name of a folder is invalid, or this is root and the
                servers' user does not exist yet.
            PermissionError: The servers' user cannot reach the data.
        """
        ports, user = Ports.of(environment), default_user()
        data = Path(environment.get(DATA) or CHECKOUT / "var").absolute()
        if not (str(data) + str(CHECKOUT)).isprintable():
            raise LookupError(f"{str(data)!r}: control characters in the path: use another folder")
        pair = environment.get("HA", "") not in {"", "0"}
        public = PublicUrl.of(environment.get(VARIABLE, ""))
        workers = _count(environment)
        installation = cls(data, ports, user, workers=workers, pair=pair, public=public)
        if user is None:
            return installation
        if user.can_reach(data):
            python = lookup(PYTHON_USER)
            candidates = [python, user] if python and python.can_reach(data) else [user]
            python_user = next((each for each in candidates if _runs_python(each)), None)
        elif environment.get(DATA):
            raise PermissionError(f"user {user.name} cannot enter {data}: change VITALS_DATA")
        else:
            data, python_user = _link_to_var_lib(data), None
        found = {service: lookup(name) for service, name in USER_OF_SERVICE.items()}
        users = {service: each for service, each in found.items() if each and each.can_reach(data)}
        return replace(installation, data=data, python_user=python_user, users=users)

    @property
    def secrets(self) -> Path:
        """The folder of secrets."""
        return self.data / "secrets"

    @property
    def log(self) -> Path:
        """The folder of logs."""
        return self.data / "log"

    @property
    def lock(self) -> Path:
        """Lock file; locked while a stack runs in this data folder."""
        return self.data / "lock"

    def user_of(self, service: str) -> ServiceUser | None:
        """Service user of a server; `None` keeps the current user."""
        return self.users.get(service, self.user)

    def owner_of(self, service: str) -> secure_files.Owner | None:
        """Owner of a server's files; `None` for the current user."""
        user = self.user_of(service)
        return user.ids if user else None

    def folder(self, service: str) -> Path:
        """The folder of one service, owned by its user; created if missing.

        Files of a previous service user are given to the current one.
        """
        path, owner = self.data / service, self.owner_of(service)
        previous = path.lstat().st_uid if path.exists() else None
        secure_files.make_directory(path, owner=owner)
        if owner and previous not in {None, 0, owner[0]}:
            secure_files.chown_tree(path, owner, only_uid=previous)
        return path

    def write(self, service: str, name: str, text: str) -> Path:
        """Write a file that only the service's user can read: configurations hold passwords."""
        path = self.folder(service) / name
        secure_files.write(path, text, owner=self.owner_of(service))
        return path

    def readable(self, folder: Path) -> Path:
        """A folder of the checkout, or a copy of it if the servers may not read the checkout."""
        users = [self.user, *self.users.values()]
        if all(user is None or user.can_reach(folder) for user in users):
            return folder
        copy = self.data / "copies" / folder.name
        secure_files.make_directories(copy.parent)
        secure_files.remove_tree(copy)
        secure_files.copy_tree(folder, copy)
        return copy

    @property
    def record_path(self) -> Path:
        """File with the process record of the running stack."""
        return self.data / "running.json"

    def read_record(self) -> ProcessRecord | None:
        """The last process record in this data folder. Check the lock first."""
        return ProcessRecord.read(self.record_path)

    def read_pids(self) -> Mapping[str, int]:
        """Pids by service; empty unless the stack is ready. Check the lock first."""
        record = self.read_record()
        return record.pids if record and record.ready else {}

    def with_recorded_ports(self) -> "Installation":
        """The same with the running stack's ports and public address, not the environment's."""
        record = self.read_record()
        if record is None:
            return self
        return replace(self, ports=record.ports, public=PublicUrl.of(record.public))


def _count(environment: Mapping[str, str]) -> int:
    text = environment.get("WORKERS") or "1"
    if not (text.isdecimal() and 1 <= int(text) <= _MAX_WORKERS):
        raise LookupError(f"WORKERS={text}: must be a number from 1 to {_MAX_WORKERS}")
    return int(text)


def _runs_python(user: ServiceUser) -> bool:
    """Whether a user can run this Python in this checkout, by trying it.

    The version is compared because a Python whose standard library the user cannot read (pyenv in
    root's home) starts with the system's libraries instead.
    """
    command = ["setpriv", *user.setpriv_options, "--", sys.executable, "-c", _PROBE]
    probe = subprocess.run(command, cwd=CHECKOUT, check=False, capture_output=True, text=True)
    return probe.stdout.strip() == sys.version.replace("\n", " ")


def _link_to_var_lib(link: Path) -> Path:
    """The folder under /var/lib for this checkout, with `link` pointing to it."""
    if link.exists() and not link.is_symlink():
        raise PermissionError(f"the servers' user cannot enter {link}: remove or move it")
    target = _VAR_LIB / f"vitals-{hashlib.sha256(bytes(link)).hexdigest()[:8]}"
    target.mkdir(mode=0o755, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(target)
    return target
