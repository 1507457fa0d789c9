"""The command `vitals` of a running stack: it knows the stack's addresses and secrets."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from stack import readiness
from stack.installation.paths import CHECKOUT, Installation
from stack.servers import postgres
from stack.watched_services import WatchedService
from vitals import secure_files

FOLDER = "bin"
"""The folder in the data folder that holds it."""


_OF_DATABASE = (
    "bottlenecks",
    "locks",
    "indexes",
    "advise \"SELECT * FROM orders WHERE status = 'paid'\"",
)


def write(here: Installation, watched: Sequence[WatchedService] = ()) -> Path:
    """Write the command; returns its path.

    It holds names of files only, no secret, and may be run from any folder. What is set in the
    environment already stays.
    """
    host, ports = f"http://{readiness.LOOPBACK}", here.ports
    of_api = {
        "VITALS_URL": f"{host}:{ports.api}",
        "VITALS_METRICS_TOKEN_FILE": here.secrets / "metrics-token",
        "VITALS_USER": "admin@example.com",
        "VITALS_USER_PASSWORD_FILE": here.secrets / "admin-password",
        "VITALS_DATABASE_URL": f"postgresql+asyncpg://{postgres.ROLE}@{readiness.LOOPBACK}:"
        f"{ports.postgres}/{postgres.DATABASE}",
        "VITALS_DATABASE_PASSWORD_FILE": here.secrets / "database-password",
    }
    defaults = {
        **(_of_service(watched[0]) if watched else of_api),
        "VITALS_PROMETHEUS_URL": f"{host}:{ports.prometheus}",
        "VITALS_ALERTMANAGER_URL": f"{host}:{ports.alertmanager}",
    }
    lines = [
        "#!/bin/sh",
        "# The command `vitals` of this stack; written at each start.",
        *(
            f'[ -n "${{{name}+set}}" ] || export {name}={shlex.quote(str(value))}'
            for name, value in defaults.items()
        ),
        f"export PYTHONPATH={shlex.quote(str(CHECKOUT))}${{PYTHONPATH:+:$PYTHONPATH}}",
        f'exec {shlex.quote(sys.executable)} -m vitals "$@"',
    ]
    secure_files.make_directory(here.data / FOLDER, mode=0o755)
    path = here.data / FOLDER / "vitals"
    secure_files.write(path, "\n".join(lines) + "\n", mode=0o755)
    return path


def _of_service(service: WatchedService) -> dict[str, object]:
    """Settings for the first of the services that are watched."""
    found: dict[str, object] = {}
    if service.targets:
        found["VITALS_URL"] = f"{service.scheme}://{service.targets[0]}"
    if service.token_file:
        found["VITALS_METRICS_TOKEN_FILE"] = service.token_file.absolute()
    return found


def examples(here: Installation, *, has_api: bool = True) -> str:
    """Command lines to copy."""
    command = shlex.quote(str(here.data / FOLDER / "vitals"))
    return "\n".join(
        f"{command} {words}" for words in ("doctor", *(_OF_DATABASE if has_api else ()))
    )
