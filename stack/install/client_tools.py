"""Installs linters of the OpenAPI document and generators of clients, for the tests."""

import hashlib
import subprocess
import sys
from pathlib import Path

from stack.install import npm
from stack.install.packages import MissingPackagesError
from stack.install.stamp import locked, once
from stack.installation.paths import CHECKOUT, Installation
from vitals import secure_files

FOLDER = CHECKOUT / "tests" / "service" / "clients"
REQUIREMENTS = CHECKOUT / "requirements" / "clients.txt"


def node_programs() -> Path:
    """Returns the folder of Spectral, Redocly, openapi-typescript and the TypeScript compiler.

    Raises:
        MissingPackagesError: They cannot be installed; says why.
    """
    return npm.fetch(FOLDER, "linters of the API and the generator of its TypeScript client")


def python_programs() -> Path:
    """Returns the folder of openapi-python-client and of a Python that can run its clients.

    A virtual environment of its own: its dependencies would change the versions of ours.

    Raises:
        MissingPackagesError: They cannot be installed; says why.
    """
    folder = Installation.here().data / "api-clients"
    secure_files.make_directories(folder.parent)
    secure_files.make_directory(folder, mode=0o755)
    environment = folder / "venv"
    programs = environment / "bin"
    pins = hashlib.sha256(sys.version.encode() + REQUIREMENTS.read_bytes()).hexdigest()
    with locked(folder), once(environment / ".installed", pins) as missing:
        if missing:
            print(
                "installing the generator of the API's Python client (once, half a minute)",
                flush=True,
            )
            _run(sys.executable, "-m", "venv", "--clear", str(environment))
            options = ("--quiet", "--disable-pip-version-check", "--require-hashes")
            python = str(programs / "python")
            _run(python, "-m", "pip", "install", *options, "-r", str(REQUIREMENTS))
    return programs


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise MissingPackagesError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
