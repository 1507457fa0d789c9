"""Linters of the OpenAPI document and generators of clients, for the tests: fetched once."""

import hashlib
import subprocess
import sys
from pathlib import Path

from stack.install import npm
from stack.install.packages import MissingPackagesError
from stack.install.stamp import once
from stack.installation.paths import CHECKOUT
from stack.terminal import tell

FOLDER = CHECKOUT / "tests" / "service" / "clients"
REQUIREMENTS = CHECKOUT / "requirements" / "clients.txt"


def install() -> None:
    """Fetch all that is missing.

    Raises:
        MissingPackagesError: It cannot be fetched; says why.
    """
    node_programs()
    python_programs()


def node_programs() -> Path:
    """The folder of Spectral, Redocly, openapi-typescript and the TypeScript compiler.

    Raises:
        MissingPackagesError: They cannot be fetched; says why.
    """
    return npm.fetch(FOLDER, "linters of the API and the generator of its TypeScript client")


def python_programs() -> Path:
    """The folder of openapi-python-client, and of a Python that has what its clients need.

    It is an environment of its own, because its needs would move the versions of ours.

    Raises:
        MissingPackagesError: They cannot be fetched; says why.
    """
    environment = FOLDER / ".venv"
    programs = environment / "bin"
    pins = hashlib.sha256(sys.version.encode() + REQUIREMENTS.read_bytes()).hexdigest()
    with once(FOLDER, environment / ".installed", pins) as missing:
        if missing:
            tell("installing the generator of the API's Python client (once, half a minute)")
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
