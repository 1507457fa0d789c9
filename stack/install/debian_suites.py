"""Prometheus and Alertmanager of newer Debian suites, beside the installed ones, for tests.

Nothing is installed. The packages come from the mirror that this machine's apt uses, its signatures
are checked as apt checks them, and their programs are unpacked into a folder of their own.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from stack.install.packages import MissingPackagesError
from stack.installation.paths import Installation
from vitals import secure_files

NEWER = ("trixie", "sid")
"""The suites: the last Prometheus 2 with long-term support, and the newest that Debian has."""
_PACKAGES = ("prometheus", "promtool", "prometheus-alertmanager")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_RELEASE = re.compile(r"'(\S+/debian)/*dists/")
_OWN_STATE = """
Dir::Etc::sourcelist "{place}/debian.sources";
Dir::Etc::sourceparts "-";
Dir::State "{place}/state";
Dir::State::status "{place}/status";
Dir::Cache "{place}/cache";
Acquire::Languages "none";
Acquire::Retries "3";
APT::Sandbox::User "{user}";
"""


def bring(suite: str) -> Path:
    """Fetch a suite's programs unless they are here already: in ``suites/`` of the data.

    Args:
        suite: One of Debian's, such as ``sid``.

    Returns:
        The folder of the programs, for the front of PATH.

    Raises:
        MissingPackagesError: They cannot be fetched; says why.
    """
    folder = Installation.here().data / "suites"
    programs = folder / suite
    if programs.exists():
        return programs
    print(f"fetching Prometheus and Alertmanager of Debian's {suite} (once)", flush=True)
    secure_files.make_directories(folder.parent)
    secure_files.make_directory(folder, mode=0o755)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as made:
        place = Path(made)
        _describe(suite, place)
        _apt(suite, place, "update", "--error-on=any")
        _apt(suite, place, "download", *_PACKAGES)
        for package in place.glob("*.deb"):
            _run(suite, ["dpkg", "-x", str(package), str(place / "unpacked")], place)
        fetched = place / "unpacked" / "usr" / "bin"
        (fetched / "alertmanager").symlink_to("prometheus-alertmanager")
        if not programs.exists():  # somebody else may have been faster
            shutil.move(fetched, programs)
    return programs


def mirror(environment: Mapping[str, str] = os.environ) -> str:
    """The address that this machine's apt fetches Debian from, or what DEBIAN_MIRROR says.

    Raises:
        MissingPackagesError: There is none.
    """
    if told := environment.get("DEBIAN_MIRROR"):
        return told
    if shutil.which("apt-get"):
        # What it would fetch: known also where no package list has been fetched yet.
        command = ["apt-get", "--print-uris", "update"]
        known = subprocess.run(command, check=False, capture_output=True, text=True).stdout
        if found := _RELEASE.search(known):
            return found[1]
    raise MissingPackagesError(
        "the tests also run on the Prometheus of newer Debian suites, and apt here knows no mirror "
        "of Debian: name one in DEBIAN_MIRROR"
    )


def _describe(suite: str, place: Path) -> None:
    """Write an apt configuration that knows one suite and touches nothing of the system's."""
    if not _KEYRING.exists():
        raise MissingPackagesError(
            f"{_KEYRING} is missing, so nothing of Debian's {suite} can be trusted: "
            "apt-get install debian-archive-keyring"
        )
    (place / "debian.sources").write_text(
        f"Types: deb\nURIs: {mirror()}\nSuites: {suite}\nComponents: main\nSigned-By: {_KEYRING}\n"
    )
    (place / "status").touch()
    for part in ("state/lists/partial", "cache/archives/partial"):
        (place / part).mkdir(parents=True)
    user = "root" if os.geteuid() == 0 else ""
    (place / "apt.conf").write_text(_OWN_STATE.format(place=place, user=user))


def _apt(suite: str, place: Path, *words: str) -> None:
    _run(suite, ["apt-get", "--quiet", "--config-file", str(place / "apt.conf"), *words], place)


def _run(suite: str, command: list[str], place: Path) -> None:
    done = subprocess.run(command, cwd=place, check=False, capture_output=True, text=True)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-5:])
        raise MissingPackagesError(
            f"the tests need Prometheus of Debian's {suite}, which cannot be fetched:\n{last}"
        )
