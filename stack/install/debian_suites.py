"""Programs of newer Debian suites, beside the installed ones, for tests.

Nothing is installed. The packages come from the mirror of this machine's apt, their signatures are
checked by apt, and their programs are unpacked into a separate folder.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from stack.install.packages import MissingPackagesError
from stack.installation.paths import Installation
from vitals import secure_files

NEWER = ("trixie", "sid")
"""The suites with the last long-term-support Prometheus 2, and with Debian's newest version."""
_PACKAGES = ("prometheus", "promtool", "prometheus-alertmanager")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_RELEASE = re.compile(r"'(\S+/debian)/*dists/")
_APT_CONFIG = """
Dir::Etc::sourcelist "{work}/debian.sources";
Dir::Etc::sourceparts "-";
Dir::State "{work}/state";
Dir::State::status "{work}/status";
Dir::Cache "{work}/cache";
Acquire::Languages "none";
Acquire::Retries "3";
APT::Sandbox::User "{user}";
"""


def fetch(suite: str) -> Path:
    """Fetch a suite's programs into ``suites/`` of the data folder, unless they are there.

    Args:
        suite: A Debian suite, such as ``sid``.

    Returns:
        The folder of the programs, to be prepended to PATH.

    Raises:
        MissingPackagesError: They cannot be fetched; the message says why.
    """
    unpacked = unpack(suite, _PACKAGES, f"prometheus-{suite}")
    programs = unpacked / "usr" / "bin"
    with suppress(FileExistsError):
        (programs / "alertmanager").symlink_to("prometheus-alertmanager")
    return programs


def fetch_victoria_metrics() -> Path:
    """Fetch VictoriaMetrics, vmagent, vmalert, vmalert-tool, vmauth and vmctl of the newest suite.

    Returns:
        The folder of the programs, to be prepended to PATH.

    Raises:
        MissingPackagesError: They cannot be fetched; the message says why.
    """
    suite = NEWER[-1]
    return unpack(suite, ("victoria-metrics",), f"victoria-metrics-{suite}") / "usr" / "bin"


def fetch_docker_compose() -> Path:
    """Fetch Docker Compose of the newest suite; it checks a file without an engine.

    Returns:
        The program.

    Raises:
        MissingPackagesError: It cannot be fetched; the message says why.
    """
    suite = NEWER[-1]
    unpacked = unpack(suite, ("docker-compose",), f"docker-compose-{suite}")
    return unpacked / "usr" / "libexec" / "docker" / "cli-plugins" / "docker-compose"


def unpack(suite: str, packages: Sequence[str], name: str) -> Path:
    """Fetch packages of a suite and unpack them, unless that was done before.

    Args:
        suite: A Debian suite, such as ``sid``.
        packages: The packages; what they depend on is not fetched.
        name: Name of the folder.

    Returns:
        The folder, ``suites/NAME`` of the data folder, with ``usr`` in it.

    Raises:
        MissingPackagesError: They cannot be fetched; the message says why.
    """
    folder = Installation.here().data / "suites"
    unpacked = folder / name
    if (unpacked / "usr").exists():
        return unpacked
    print(f"fetching {packages[0]} of Debian's {suite} (once)", flush=True)
    secure_files.make_directories(folder.parent)
    secure_files.make_directory(folder, mode=0o755)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as temporary:
        work = Path(temporary)
        _configure_apt(suite, work)
        _apt(suite, work, "update", "--error-on=any")
        _apt(suite, work, "download", *packages)
        for package in work.glob("*.deb"):
            _run(suite, ["dpkg", "-x", str(package), str(work / "unpacked")], work)
        with suppress(OSError):  # another process may have been faster
            (work / "unpacked").rename(unpacked)
    return unpacked


def mirror(environment: Mapping[str, str] = os.environ) -> str:
    """DEBIAN_MIRROR, or the URL of the Debian mirror that apt uses on this machine.

    Raises:
        MissingPackagesError: There is no mirror.
    """
    if configured := environment.get("DEBIAN_MIRROR"):
        return configured
    if shutil.which("apt-get"):
        # The URLs it would fetch, which are known before any package list has been fetched.
        command = ["apt-get", "--print-uris", "update"]
        uris = subprocess.run(command, check=False, capture_output=True, text=True).stdout
        if found := _RELEASE.search(uris):
            return found[1]
    raise MissingPackagesError(
        "the tests also need Prometheus of newer Debian suites, and apt has no Debian mirror "
        "configured: set DEBIAN_MIRROR"
    )


def _configure_apt(suite: str, work: Path) -> None:
    """Write an apt configuration for one suite that does not touch the system's state."""
    if not _KEYRING.exists():
        raise MissingPackagesError(
            f"{_KEYRING} is missing, so packages of Debian's {suite} cannot be verified: "
            "apt-get install debian-archive-keyring"
        )
    (work / "debian.sources").write_text(
        f"Types: deb\nURIs: {mirror()}\nSuites: {suite}\nComponents: main\nSigned-By: {_KEYRING}\n"
    )
    (work / "status").touch()
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    user = "root" if os.geteuid() == 0 else ""
    (work / "apt.conf").write_text(_APT_CONFIG.format(work=work, user=user))


def _apt(suite: str, work: Path, *arguments: str) -> None:
    _run(suite, ["apt-get", "--quiet", "--config-file", str(work / "apt.conf"), *arguments], work)


def _run(suite: str, command: list[str], work: Path) -> None:
    done = subprocess.run(command, cwd=work, check=False, capture_output=True, text=True)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-5:])
        raise MissingPackagesError(
            f"packages of Debian's {suite} cannot be fetched for the tests:\n{last}"
        )
