"""Installs the npm packages of a lock file into its folder, once, and runs npm there."""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from stack.install.packages import MissingPackagesError
from stack.install.stamp import locked, once
from stack.terminal import print_line

MIN_NODE = (20, 19)
_TAIL_LINES = 40
"""Number of last lines of npm's output in an error."""


class NpmError(MissingPackagesError):
    """npm failed; the message holds the end of its output."""


class NodeMissingError(NpmError):
    """Node is missing or too old."""


def fetch(folder: Path, purpose: str) -> Path:
    """Lock a folder and install its packages; returns the folder of the packages' programs.

    Raises:
        NodeMissingError: Node is missing.
        NpmError: npm failed.
    """
    with locked(folder):
        install(folder, purpose)
    return folder / "node_modules" / ".bin"


def install(folder: Path, purpose: str) -> None:
    """Install the packages of a locked folder, unless those of its lock file are installed.

    Args:
        folder: Holds `package.json` and `package-lock.json`.
        purpose: What the packages are for; printed while they are fetched.

    Raises:
        NodeMissingError: Node is missing.
        NpmError: npm failed.
    """
    require_node()
    lock = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    with once(folder / "node_modules" / ".lock.sha256", lock) as missing:
        if missing:
            print_line(f"fetching {purpose} (once, about a minute)")
            run(folder, "ci", "--no-progress")


def require_node() -> None:
    """Check the version of Node.

    Raises:
        NodeMissingError: Node is missing.
    """
    node = shutil.which("node")
    version = (
        subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
        if node
        else ""
    )
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if not shutil.which("npm") or numbers < MIN_NODE:
        required = ".".join(map(str, MIN_NODE))
        found = f"found {version.strip()}" if version else "not found"
        raise NodeMissingError(f"Node {required} or newer with npm is needed ({found}): install it")


def run(folder: Path, *arguments: str) -> None:
    """Run npm in a folder.

    Raises:
        NpmError: npm failed.
    """
    done = subprocess.run(
        ["npm", *arguments],
        cwd=folder,
        env={**os.environ, "CI": "1"},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-_TAIL_LINES:])
        raise NpmError(f"npm {' '.join(arguments)} failed in {folder}:\n{last}")
