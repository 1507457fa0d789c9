"""Builds the kit's wheel and sdist, and checks what is in them."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from checks.files import ROOT

DIRECTORY = ROOT / "dist"
_BIN = Path(sys.executable).parent
_PACKAGE = "vitals/"
_IN_THE_SDIST = ("CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml", ".gitignore")


class DistributionError(Exception):
    """What is wrong with the built distributions."""


def build(directory: Path) -> tuple[Path, Path]:
    """Build the wheel from the sdist, with the locked build backend.

    Returns:
        The wheel and the sdist.

    Raises:
        subprocess.CalledProcessError: They cannot be built.
    """
    command: list[str | Path] = [_BIN / "uv", "build", "--quiet", "--no-build-isolation"]
    command += ["--python", sys.executable, "--out-dir", directory, ROOT]
    subprocess.run(command, check=True)
    (wheel,), (sdist,) = directory.glob("*.whl"), directory.glob("*.tar.gz")
    return wheel, sdist


def check(wheel: Path, sdist: Path) -> None:
    """Check the metadata as PyPI does, and that nothing but the kit is published.

    Raises:
        DistributionError: A file is missing or too many, or the metadata are wrong.
    """
    command: list[str | Path] = [_BIN / "twine", "check", "--strict", wheel, sdist]
    checked = subprocess.run(command, check=False, capture_output=True, text=True)
    if checked.returncode:
        raise DistributionError(checked.stdout + checked.stderr)
    source = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / _PACKAGE).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    for name, held in ((wheel.name, found), (sdist.name, names - {*_IN_THE_SDIST})):
        if held != source:
            raise DistributionError(f"{name}: missing or too many: {sorted(held ^ source)}")


def main() -> int:
    """Build into ``dist/`` and check."""
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    wheel, sdist = build(DIRECTORY)
    try:
        check(wheel, sdist)
    except DistributionError as error:
        print(error)
        return 1
    print(f"built and checked: {wheel.relative_to(ROOT)}, {sdist.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
