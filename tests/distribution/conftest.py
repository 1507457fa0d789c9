"""An environment with the two wheels, away from this checkout."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from checks import distribution
from checks.files import ROOT

LOCKED = ROOT / "requirements" / "dev.txt"
UV = Path(sys.executable).parent / "uv"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the built distributions."""
    folder = tmp_path_factory.mktemp("dist")
    distribution.build(folder)
    distribution.build_watch(folder)
    return folder


@pytest.fixture(scope="session")
def installed(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment in which ``vitals-kit[watch]`` was installed."""
    folder = tmp_path_factory.mktemp("watch") / "venv"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    (kit,), (watch,) = wheels.glob("vitals_kit*.whl"), wheels.glob("vitals_watch*.whl")
    command: list[str | Path] = [UV, "pip", "install", "--quiet", "--constraint", LOCKED]
    command += ["--python", folder / "bin" / "python"]
    # Named by their paths: of an index, even of a folder, uv keeps a version that it has seen.
    command += [f"vitals-kit[watch] @ {kit.as_uri()}", watch]
    subprocess.run(command, check=True)
    return folder / "bin"


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Run:
    """Runs a program of that environment in a folder of its own."""

    def run(
        name: str, *arguments: str, path: str = os.defpath
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [installed / name, *arguments],
            cwd=tmp_path,
            env={"PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run
