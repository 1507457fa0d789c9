"""Installs the npm packages of a lock file into its folder, once."""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from stack.install.packages import MissingPackagesError
from stack.install.stamp import once

LEAST_NODE = (20, 19)
_LAST_LINES = 40


def fetch(folder: Path, purpose: str) -> Path:
    """Install the packages of a folder, unless those of its lock file are installed.

    Args:
        folder: Holds `package.json` and `package-lock.json`.
        purpose: What the packages are for; printed while they are fetched.

    Returns:
        The folder of the packages' programs.

    Raises:
        MissingPackagesError: There is no Node, or npm failed; says why.
    """
    packages = folder / "node_modules"
    lock = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    with once(folder, packages / ".lock.sha256", lock) as missing:
        if missing:
            _require_node()
            print(f"fetching {purpose} (once, about a minute)", flush=True)
            _run(folder, "npm", "ci", "--no-progress")
    return packages / ".bin"


def _require_node() -> None:
    node = shutil.which("node")
    version = (
        subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
        if node
        else ""
    )
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if not shutil.which("npm") or numbers < LEAST_NODE:
        least = ".".join(map(str, LEAST_NODE))
        found = f"this is {version.strip()}" if version else "there is none here"
        raise MissingPackagesError(f"the tests need Node {least} or newer with npm ({found})")


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "CI": "1"},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-_LAST_LINES:])
        raise MissingPackagesError(f"{' '.join(command)} failed in {folder}:\n{last}")
