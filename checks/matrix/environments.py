"""Virtual environments of the matrix, cached by what is in them."""

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from checks.files import ROOT
from stack.installation.paths import Installation

UV = Path(sys.executable).parent / "uv"
LOCKED = ROOT / "requirements" / "dev.txt"
OLDEST = ROOT / "requirements" / "oldest.txt"
_REDACTION_PACKAGE = "google-re2"
"""The one package of the extras without a wheel for each Python."""


@dataclass(frozen=True)
class Versions:
    """Which versions of the kit's dependencies are installed.

    Attributes:
        name: ``oldest``, ``oldest-with-cache``, whose floors are higher, ``locked`` or ``newest``.
        compile_options: Options of ``uv pip compile``; none if a file is locked.
    """

    name: str
    compile_options: tuple[str | Path, ...] = ()

    def requirements(self, python: Path) -> str:
        """The pinned requirements for an interpreter.

        Raises:
            subprocess.CalledProcessError: They cannot be resolved.
        """
        if not self.compile_options:
            return OLDEST.read_text()
        command: list[str | Path] = [UV, "pip", "compile", "pyproject.toml", "--quiet"]
        command += ["--extra", "all", "--group", "kit-tests", "--no-header", "--no-annotate"]
        command += ["--python", python, *self.compile_options]
        pinned = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        return pinned.stdout


OF_NAME = {
    each.name: each
    for each in (
        Versions("oldest"),
        Versions("oldest-with-cache", ("--resolution", "lowest-direct")),
        Versions("locked", ("--constraint", LOCKED)),
        Versions("newest", ("--upgrade",)),
    )
}


def create(versions: Versions, python: Path) -> tuple[Path, bool]:
    """Create an environment, or find the one that was made before.

    Returns:
        Its interpreter, and whether it has all extras: where a package has no wheel for this
        Python, only the kit's core is tested.

    Raises:
        subprocess.CalledProcessError: The packages cannot be installed.
    """
    requirements = versions.requirements(python)
    has_all = _has_wheel(requirements, python)
    if not has_all:
        lines = requirements.splitlines(keepends=True)
        requirements = "".join(line for line in lines if not line.startswith(_REDACTION_PACKAGE))
    version = subprocess.run([python, "-VV"], check=True, capture_output=True).stdout
    key = hashlib.sha256(requirements.encode() + version).hexdigest()[:16]
    folder = Installation.here().data / "matrix" / f"{versions.name}-{key}"
    made = folder / "bin" / "python"
    if not (folder / ".installed").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _uv("venv", "--quiet", "--python", python, folder)
        listed = folder / "requirements.txt"
        listed.write_text(requirements)
        hashes = ["--require-hashes"] if "--hash" in requirements else []
        _uv("pip", "install", "--quiet", "--python", made, "--requirement", listed, *hashes)
        (folder / ".installed").touch()
    return made, has_all


def _has_wheel(requirements: str, python: Path) -> bool:
    (pin,) = (line for line in requirements.splitlines() if line.startswith(_REDACTION_PACKAGE))
    requirement = pin.partition(" ")[0].rstrip("\\")
    command: list[str | Path] = [UV, "pip", "install", "--quiet", "--dry-run", "--no-deps"]
    command += ["--only-binary", ":all:", "--python", python, "--break-system-packages"]
    done = subprocess.run([*command, requirement], check=False, capture_output=True)
    return not done.returncode


def _uv(*arguments: str | Path) -> None:
    subprocess.run([UV, *arguments], cwd=ROOT, check=True)
