"""The files of this checkout that git tracks."""

import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def tracked(suffixes: Collection[str]) -> Iterator[Path]:
    """Yield the path, relative to ``ROOT``, of each file that has one of the suffixes."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"],  # noqa: S607 - git is what made this checkout
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        path = Path(name)
        if path.suffix in suffixes and (ROOT / path).is_file():
            yield path
