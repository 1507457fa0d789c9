"""Debian packages of the servers: finds missing ones and installs them."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from stack.servers import postgres
from stack.terminal import print_line

_UNITS = {
    "postgresql": "postgresql.service",
    "redis-server": "redis-server.service",
    "pgbouncer": "pgbouncer.service",
    "prometheus": "prometheus.service",
    "prometheus-alertmanager": "prometheus-alertmanager.service",
    "caddy": "caddy.service",
}
_CLUSTER_SETTINGS = Path("/etc/postgresql-common/createcluster.conf")


class MissingPackagesError(RuntimeError):
    """Packages are missing and cannot be installed; the message holds the command to run."""


def _has_postgres() -> bool:
    try:
        return bool(postgres.binary("postgres") and postgres.binary("psql"))
    except FileNotFoundError:
        return False


def _has(*names: str) -> Callable[[], bool]:
    return lambda: any(shutil.which(name) for name in names)


def _has_hypopg() -> bool:
    return any(Path("/usr/share/postgresql").glob("*/extension/hypopg.control"))


# The tests also need promtool and amtool, which are in the same packages.
_PACKAGES: dict[str, Callable[[], bool]] = {
    "postgresql": _has_postgres,
    "redis-server": _has("redis-server"),
    "prometheus": lambda: _has("prometheus")() and _has("promtool")(),
    "prometheus-alertmanager": lambda: (
        _has("alertmanager", "prometheus-alertmanager")() and _has("amtool")()
    ),
    "util-linux": _has("setpriv"),
}
_FOR_DOOR: dict[str, Callable[[], bool]] = {"caddy": _has("caddy")}
_FOR_TESTS: dict[str, Callable[[], bool]] = {
    **_FOR_DOOR,
    "chromium": _has("chromium"),
    "firefox-esr": _has("firefox-esr"),
    "webkit2gtk-driver": _has("WebKitWebDriver"),
    "xvfb": _has("Xvfb"),  # WebKit needs a screen
    "pgbouncer": _has("pgbouncer"),
    "postgresql-15-hypopg": _has_hypopg,  # used by the index advisor; optional for the stack
}
"""Node, which builds the viewer, is not included: Debian's is too old."""


def missing(*, for_tests: bool = False, for_door: bool = False) -> list[str]:
    """Debian names of the missing packages."""
    required = _PACKAGES | (_FOR_TESTS if for_tests else {}) | (_FOR_DOOR if for_door else {})
    return [name for name, is_installed in required.items() if not is_installed()]


def install(*, for_tests: bool = False, for_door: bool = False) -> None:
    """Install missing packages, if possible.

    Args:
        for_tests: Include packages that only the tests need.
        for_door: Include the reverse proxy of a public address.

    Raises:
        MissingPackagesError: It is not possible, or it failed.
    """
    names = missing(for_tests=for_tests, for_door=for_door)
    if not names:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *names]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sudo = "sudo " if os.geteuid() != 0 else ""
        raise MissingPackagesError(
            f"missing packages: {', '.join(names)}. On Debian and Ubuntu run:\n"
            f"  {sudo}apt-get update && {sudo}{' '.join(command)}"
        )
    print_line(f"installing {', '.join(names)} (once)")
    _disable_default_cluster()
    for _ in range(3):  # package lists may be missing or outdated: update them and retry
        failure = _apt(command)
        if not missing(for_tests=for_tests, for_door=for_door):
            break
        _apt(["apt-get", "update"])
    else:
        raise MissingPackagesError(f"{' '.join(command)} failed:\n{failure}")
    _stop_system_services(names)


def _stop_system_services(names: list[str]) -> None:
    """Stop the system services that the new packages have started.

    They would occupy Prometheus's default port; the stack runs its own.
    """
    if Path("/run/systemd/system").is_dir():
        units = [_UNITS[name] for name in names if name in _UNITS]
        subprocess.run(["systemctl", "disable", "--now", *units], check=False, capture_output=True)


def _disable_default_cluster() -> None:
    """Prevent Debian from creating and starting a default database cluster on installation."""
    if not _CLUSTER_SETTINGS.exists() and not _has_postgres():
        _CLUSTER_SETTINGS.parent.mkdir(parents=True, exist_ok=True)
        _CLUSTER_SETTINGS.write_text("create_main_cluster = false\n")


def _apt(command: list[str]) -> str:
    """Run apt; returns the last lines of its output if it failed, else an empty text."""
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
