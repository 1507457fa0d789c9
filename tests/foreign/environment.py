"""Virtual environments of foreign services, with and without the kit."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_UV = Path(sys.executable).parent / "uv"


def build_wheel(directory: Path) -> Path:
    """Build the kit's wheel as it is published."""
    subprocess.run([_UV, "build", "--quiet", "--wheel", "--out-dir", directory, ROOT], check=True)
    (wheel,) = directory.glob("*.whl")
    return wheel


class Environment:
    """A virtual environment.

    Args:
        directory: Where it is created.

    Raises:
        subprocess.CalledProcessError: A package could not be installed.
    """

    def __init__(self, directory: Path) -> None:
        self.python = directory / "bin" / "python"
        self._run("venv", "--python", sys.executable, directory)

    def install(self, *arguments: str | Path) -> None:
        """Install packages."""
        self._run("pip", "install", "--python", self.python, *arguments)

    def versions(self) -> dict[str, str]:
        """The versions of the installed packages, by name."""
        lines = self._run("pip", "freeze", "--python", self.python).splitlines()
        return dict(line.split("==") for line in lines if "==" in line)

    def _run(self, *arguments: str | Path) -> str:
        command = [_UV, *arguments, "--quiet"]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def install_kit(environment: Environment, wheel: Path, extras: str, constraints: Path) -> list[str]:
    """Install the kit as docs/adopting.md says, and list the packages that it moved.

    Args:
        environment: Where the service is installed.
        wheel: The kit.
        extras: The kit's extras, such as ``sql,otel``.
        constraints: A file that the service's versions are written to: none may change.
    """
    before = environment.versions()
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in before.items()))
    environment.install(f"{wheel}[{extras}]", "--constraint", constraints)
    after = environment.versions()
    return [
        f"{name} {version} -> {after.get(name)}"
        for name, version in before.items()
        if after.get(name) != version
    ]
