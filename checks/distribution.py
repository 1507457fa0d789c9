"""Builds the wheel and sdist of the kit and the wheel of the watch, and checks what is in them."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from checks.files import ROOT, tracked
from stack import viewer
from stack.install.npm import NpmError

DIRECTORY = ROOT / "dist"
_BIN = Path(sys.executable).parent
_PACKAGE = "vitals/"
_WATCH = ROOT / "distribution" / "watch"
_CONTENT = "vitals_watch/content/"
_SUFFIXES_OF_WATCH = {".html", ".json", ".md", ".py", ".sql", ".tmpl", ".yaml", ".yml"}
_BUILT = "grafana/viewer/dist/"
_IN_THE_SDIST = ("CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml", ".gitignore")


class DistributionError(Exception):
    """What is wrong with the built distributions."""


def build(directory: Path) -> tuple[Path, Path]:
    """Build the kit's wheel from its sdist, with the locked build backend.

    Returns:
        The wheel and the sdist.

    Raises:
        subprocess.CalledProcessError: They cannot be built.
    """
    _build(ROOT, directory)
    (wheel,), (sdist,) = directory.glob("vitals_kit*.whl"), directory.glob("*.tar.gz")
    return wheel, sdist


def build_watch(directory: Path) -> Path:
    """Build the wheel of the watch, with the viewer; returns it.

    It has no sdist: Node builds a part of it, and its sources are the repository.

    Raises:
        NpmError: The viewer cannot be built.
        subprocess.CalledProcessError: The wheel cannot be.
    """
    viewer.build()
    _build(_WATCH, directory, "--wheel")
    (wheel,) = directory.glob("vitals_watch*.whl")
    return wheel


def _build(source: Path, directory: Path, *options: str) -> None:
    command: list[str | Path] = [_BIN / "uv", "build", "--quiet", "--no-build-isolation", *options]
    command += ["--python", sys.executable, "--out-dir", directory, source]
    subprocess.run(command, check=True)


def check(wheel: Path, sdist: Path) -> None:
    """Check the metadata as PyPI does, and that nothing but the kit is published.

    Raises:
        DistributionError: A file is missing or too many, or the metadata are wrong.
    """
    _check_metadata(wheel, sdist)
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


def _check_metadata(*distributions: Path) -> None:
    command: list[str | Path] = [_BIN / "twine", "check", "--strict", *distributions]
    checked = subprocess.run(command, check=False, capture_output=True, text=True)
    if checked.returncode:
        raise DistributionError(checked.stdout + checked.stderr)


def check_watch(wheel: Path) -> None:
    """Check the metadata as PyPI does, and that a build of this repository's files is published.

    Raises:
        DistributionError: A file is one that git does not track, or the metadata are wrong.
    """
    _check_metadata(wheel)
    known = {path.as_posix() for path in tracked(_SUFFIXES_OF_WATCH)}
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith(_CONTENT)]
    found = {name.removeprefix(_CONTENT) for name in names}
    if strange := sorted(name for name in found - known if not name.startswith(_BUILT)):
        raise DistributionError(f"{wheel.name}: git does not track {', '.join(strange)}")


def main() -> int:
    """Build into ``dist/`` and check."""
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    wheel, sdist = build(DIRECTORY)
    try:
        watch = build_watch(DIRECTORY)
        check(wheel, sdist)
        check_watch(watch)
    except (DistributionError, NpmError) as error:
        print(error)
        return 1
    built = ", ".join(str(path.relative_to(ROOT)) for path in (wheel, sdist, watch))
    print(f"built and checked: {built}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
