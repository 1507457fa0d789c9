"""Where one installation keeps its things, on which ports, and whom it runs as."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from stack.installation.ports import Ports
from stack.installation.process_record import Running
from stack.installation.service_user import OF_PART, OF_PYTHON, Account, named, servant
from vitals import secure_files

CHECKOUT = Path(__file__).resolve().parents[2]
_TRIAL = "import stack, sys, yaml; print(sys.version.replace(chr(10), ' '))"
_MOST_WORKERS = 16
_ELSEWHERE = Path("/var/lib")


@dataclass(frozen=True)
class Installation:
    """One stack on this machine.

    Attributes:
        data: All that it writes lies here.
        ports: Where its parts listen.
        account: Whom the servers run as; `None` stays who we are.
        workers: How many processes serve the API.
        worker: Whom our own Python runs as; `None` stays who we are, for want of an account
            that may read the checkout.
        accounts: Whom single parts run as instead of `account`.
    """

    data: Path
    ports: Ports
    account: Account | None = None
    worker: Account | None = None
    workers: int = 1
    accounts: Mapping[str, Account] = field(default_factory=dict)

    @classmethod
    def here(cls, environment: Mapping[str, str] = os.environ) -> "Installation":
        """The installation of this checkout: `var/`, or the folder that `VITALS_DATA` names.

        Where the servers' account may not enter the checkout (root's home, say), the data lie
        under /var/lib, and `var` is a link to them.

        Raises:
            PortError: A port setting is wrong.
            LookupError: WORKERS or the name of a folder makes no sense, or we are root and
                there is no account for the servers yet.
            PermissionError: The servers' account cannot reach the data.
        """
        ports, account = Ports.of(environment), servant()
        data = Path(environment.get("VITALS_DATA") or CHECKOUT / "var").absolute()
        if not (str(data) + str(CHECKOUT)).isprintable():
            raise LookupError(
                f"{str(data)!r}: no folder here may have control characters in its name"
            )
        installation = cls(data, ports, account, workers=_count(environment))
        if account is None:
            return installation
        if account.reaches(data):
            apart = named(OF_PYTHON)
            candidates = [apart, account] if apart and apart.reaches(data) else [account]
            worker = next((each for each in candidates if _runs_python(each)), None)
        elif environment.get("VITALS_DATA"):
            raise PermissionError(f"user {account.name} cannot enter {data}: name another folder")
        else:
            data, worker = _linked_elsewhere(data), None
        found = {part: named(name) for part, name in OF_PART.items()}
        accounts = {part: each for part, each in found.items() if each and each.reaches(data)}
        return replace(installation, data=data, worker=worker, accounts=accounts)

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
        """Held while a stack runs over these data."""
        return self.data / "lock"

    def account_of(self, part: str) -> Account | None:
        """Whom a server runs as; `None` stays who we are."""
        return self.accounts.get(part, self.account)

    def owner_of(self, part: str) -> secure_files.Owner | None:
        """Whom a server's files belong to; `None` for us."""
        account = self.account_of(part)
        return account.ids if account else None

    def folder(self, part: str) -> Path:
        """A part's own folder, which its account owns; made if needed.

        What a former account of the part left in it is given to the present one.
        """
        path, owner = self.data / part, self.owner_of(part)
        former = path.lstat().st_uid if path.exists() else None
        secure_files.make_directory(path, owner=owner)
        if owner and former not in {None, 0, owner[0]}:
            secure_files.chown_tree(path, owner, only_uid=former)
        return path

    def write(self, part: str, name: str, text: str) -> Path:
        """Write a file that only the part's account reads; configurations hold passwords."""
        path = self.folder(part) / name
        secure_files.write(path, text, owner=self.owner_of(part))
        return path

    def readable(self, folder: Path) -> Path:
        """A folder of the checkout, or a copy of it where the servers may not read that."""
        accounts = [self.account, *self.accounts.values()]
        if all(account is None or account.reaches(folder) for account in accounts):
            return folder
        copy = self.data / "copies" / folder.name
        secure_files.make_directories(copy.parent)
        secure_files.remove_tree(copy)
        secure_files.copy_tree(folder, copy)
        return copy

    @property
    def record(self) -> Path:
        """The file in which a stack notes its processes."""
        return self.data / "running.json"

    def read_running(self) -> Running | None:
        """What the stack over these data noted of itself last. Check the lock first."""
        return Running.read(self.record)

    def read_pids(self) -> Mapping[str, int]:
        """Which process is which part; nothing unless a stack is ready. Check the lock first."""
        running = self.read_running()
        return running.pids if running and running.ready else {}

    def as_running(self) -> "Installation":
        """The same on the ports that the running stack uses, whatever the environment says."""
        running = self.read_running()
        return replace(self, ports=running.ports) if running else self


def _count(environment: Mapping[str, str]) -> int:
    text = environment.get("WORKERS") or "1"
    if not (text.isdecimal() and 1 <= int(text) <= _MOST_WORKERS):
        raise LookupError(f"WORKERS={text}: give a number from 1 to {_MOST_WORKERS}")
    return int(text)


def _runs_python(account: Account) -> bool:
    """Whether an account may run our Python over this checkout: try it.

    The version is compared because a Python whose own libraries lie where the account may not
    go (pyenv in root's home) starts all the same, with the system's libraries.
    """
    words = ["setpriv", *account.prefix, "--", sys.executable, "-c", _TRIAL]
    tried = subprocess.run(words, cwd=CHECKOUT, check=False, capture_output=True, text=True)
    return tried.stdout.strip() == sys.version.replace("\n", " ")


def _linked_elsewhere(link: Path) -> Path:
    """A folder under /var/lib that belongs to this checkout, with `link` showing there."""
    if link.exists() and not link.is_symlink():
        raise PermissionError(f"the servers' account cannot enter {link}: remove or move it")
    place = _ELSEWHERE / f"vitals-{hashlib.sha256(bytes(link)).hexdigest()[:8]}"
    place.mkdir(mode=0o755, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(place)
    return place
