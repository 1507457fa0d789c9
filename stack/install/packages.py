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


_FOR_API: dict[str, Callable[[], bool]] = {
    "postgresql": _has_postgres,
    "redis-server": _has("redis-server"),
}
# The tests also need promtool and amtool, which are in the same packages.
_FOR_WATCH: dict[str, Callable[[], bool]] = {
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


_PROGRAMS: dict[str, tuple[tuple[str, ...], str]] = {
    "prometheus": (("prometheus",), "https://prometheus.io/download/"),
    "prometheus-alertmanager": (
        ("alertmanager", "prometheus-alertmanager"),
        "https://prometheus.io/download/",
    ),
    "util-linux": (("setpriv",), "util-linux"),
    "caddy": (("caddy",), "https://caddyserver.com/download"),
}
"""Of a Debian package: names of its program, and where others find it."""


def require_watch(*, for_door: bool = False) -> None:
    """Check that the programs of the watch are on PATH; nothing is installed.

    Args:
        for_door: Include the reverse proxy of a public address.

    Raises:
        MissingPackagesError: Some are not.
    """
    wanted = [name for name in _PROGRAMS if for_door or name not in _FOR_DOOR]
    names = [name for name in wanted if not _has(*_PROGRAMS[name][0])()]
    if names:
        programs = ", ".join(
            f"{' or '.join(_PROGRAMS[name][0])} ({_PROGRAMS[name][1]})" for name in names
        )
        sudo = "sudo " if os.geteuid() != 0 else ""
        raise MissingPackagesError(
            f"not found on PATH: {programs}. On Debian and Ubuntu run:\n"
            f"  {sudo}apt-get install --no-install-recommends {' '.join(names)}\n"
            "It starts a service of its own on the same port, which is not needed: "
            f"{sudo}systemctl disable --now {' '.join(names)}"
        )


def missing(*, for_tests: bool = False, for_door: bool = False, for_api: bool = True) -> list[str]:
    """Debian names of the missing packages."""
    required = {
        **(_FOR_API if for_api else {}),
        **_FOR_WATCH,
        **(_FOR_TESTS if for_tests else {}),
        **(_FOR_DOOR if for_door else {}),
    }
    return [name for name, is_installed in required.items() if not is_installed()]


def install(*, for_tests: bool = False, for_door: bool = False, for_api: bool = True) -> None:
    """Install missing packages, if possible.

    Args:
        for_tests: Include packages that only the tests need.
        for_door: Include the reverse proxy of a public address.
        for_api: Include the databases of the API.

    Raises:
        MissingPackagesError: It is not possible, or it failed.
    """
    names = missing(for_tests=for_tests, for_door=for_door, for_api=for_api)
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
        if not missing(for_tests=for_tests, for_door=for_door, for_api=for_api):
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
