"""The servers' packages: what is missing, and how it comes here."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from stack.servers import postgres
from stack.terminal import tell

_UNITS = {
    "postgresql": "postgresql.service",
    "redis-server": "redis-server.service",
    "pgbouncer": "pgbouncer.service",
    "prometheus": "prometheus.service",
    "prometheus-alertmanager": "prometheus-alertmanager.service",
}
_CLUSTER_SETTINGS = Path("/etc/postgresql-common/createcluster.conf")


class MissingPackagesError(RuntimeError):
    """Packages are missing and we cannot install them; the message holds the command."""


def _has_postgres() -> bool:
    try:
        return bool(postgres.binary("postgres") and postgres.binary("psql"))
    except FileNotFoundError:
        return False


def _has(*names: str) -> Callable[[], bool]:
    return lambda: any(shutil.which(name) for name in names)


def _has_hypopg() -> bool:
    return any(Path("/usr/share/postgresql").glob("*/extension/hypopg.control"))


# The tests need promtool and amtool too; they come with the same packages.
_PACKAGES: dict[str, Callable[[], bool]] = {
    "postgresql": _has_postgres,
    "redis-server": _has("redis-server"),
    "prometheus": lambda: _has("prometheus")() and _has("promtool")(),
    "prometheus-alertmanager": lambda: (
        _has("alertmanager", "prometheus-alertmanager")() and _has("amtool")()
    ),
    "util-linux": _has("setpriv"),
}
_FOR_TESTS: dict[str, Callable[[], bool]] = {
    "chromium": _has("chromium"),
    "pgbouncer": _has("pgbouncer"),
    "postgresql-15-hypopg": _has_hypopg,  # the advisor of indexes asks it; the stack runs without
}
"""Node, which builds the boards' viewer, is not among them: Debian's is too old."""


def missing(*, for_tests: bool = False) -> list[str]:
    """Debian's names of the packages that are not here."""
    wanted = _PACKAGES | (_FOR_TESTS if for_tests else {})
    return [name for name, is_here in wanted.items() if not is_here()]


def install(*, for_tests: bool = False) -> None:
    """Install what is missing, when that is possible.

    Args:
        for_tests: Also what only the tests need.

    Raises:
        MissingPackagesError: It is not, or it failed.
    """
    names = missing(for_tests=for_tests)
    if not names:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *names]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sudo = "sudo " if os.geteuid() != 0 else ""
        raise MissingPackagesError(
            f"{', '.join(names)} missing. On Debian and Ubuntu:\n"
            f"  {sudo}apt-get update && {sudo}{' '.join(command)}"
        )
    tell(f"installing {', '.join(names)} (once)")
    _want_no_cluster()
    for _ in range(3):  # package lists may be absent or old: refresh them and try again
        failure = _apt(command)
        if not missing(for_tests=for_tests):
            break
        _apt(["apt-get", "update"])
    else:
        raise MissingPackagesError(f"{' '.join(command)} failed:\n{failure}")
    _end_services_of(names)


def _end_services_of(names: list[str]) -> None:
    """End the system services that came up with the packages we have just brought.

    They would hold Prometheus's usual port; this stack runs its own.
    """
    if Path("/run/systemd/system").is_dir():
        units = [_UNITS[name] for name in names if name in _UNITS]
        subprocess.run(["systemctl", "disable", "--now", *units], check=False, capture_output=True)


def _want_no_cluster() -> None:
    """Keep Debian from making and starting a database cluster of its own on a fresh install."""
    if not _CLUSTER_SETTINGS.exists() and not _has_postgres():
        _CLUSTER_SETTINGS.parent.mkdir(parents=True, exist_ok=True)
        _CLUSTER_SETTINGS.write_text("create_main_cluster = false\n")


def _apt(command: list[str]) -> str:
    """Run apt quietly; returns the end of its output if it failed."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    options = ["-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Options::=--force-confold"]
    done = subprocess.run(
        [command[0], "--quiet", *options, *command[1:]],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    if not done.returncode:
        return ""
    return "\n".join((done.stdout + done.stderr).splitlines()[-15:])
