"""Builds the viewer of the boards if its sources changed, and publishes it with the boards.

Publishing is an optional task of the stack: without Node, or without a network to fetch packages
from, everything else works, and the error says what is missing.
"""

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stack import static_site
from stack.installation.paths import CHECKOUT
from stack.terminal import print_line

SOURCES = CHECKOUT / "grafana" / "viewer"
BOARDS = CHECKOUT / "grafana" / "dashboards"
BUILT = SOURCES / "dist"
_MIN_NODE = (20, 19)
_BUILT_HASH = "sources.sha256"
_LOCK_HASH = ".lock.sha256"
_CHECKED_HASH = ".checked.sha256"
_TAIL_LINES = 40
"""Number of last lines of npm's output in an error."""
_NOT_SOURCES = {"dist", "node_modules"}


class BuildError(RuntimeError):
    """The viewer cannot be built; the message says what to do."""


class NodeMissingError(BuildError):
    """Node is missing or too old."""


def sources_hash() -> str:
    """SHA-256 of the sources, as hex."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.rglob("*")):
        relative = path.relative_to(SOURCES)
        if path.is_file() and relative.parts[0] not in _NOT_SOURCES:
            digest.update(f"{relative.as_posix()}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def is_current() -> bool:
    """Whether the build output was built from the current sources."""
    return _read(BUILT / _BUILT_HASH) == sources_hash()


def build() -> None:
    """Build unless the output is current.

    Raises:
        NodeMissingError: Node is missing.
        BuildError: A step failed.
    """
    with _exclusive():
        if is_current():
            return
        _install_packages()
        print_line("building the viewer (half a minute)")
        before = sources_hash()
        _npm("run", "build")
        (BUILT / _BUILT_HASH).write_text(before)


def check() -> None:
    """Lint and type-check the sources, unless the same sources passed before.

    Raises:
        NodeMissingError: Node is missing.
        BuildError: The check failed.
    """
    with _exclusive():
        _install_packages()
        now = sources_hash()
        if _read(_packages() / _CHECKED_HASH) != now:
            _npm("run", "check")
            (_packages() / _CHECKED_HASH).write_text(now)


@contextmanager
def _exclusive() -> Iterator[None]:
    """Serialise processes that fetch or build here, by a file lock."""
    folder = os.open(SOURCES, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _install_packages() -> None:
    """Install the npm packages if they are missing or the lock file changed."""
    _require_node()
    lock = hashlib.sha256((SOURCES / "package-lock.json").read_bytes()).hexdigest()
    if _read(_packages() / _LOCK_HASH) != lock:
        print_line("fetching the packages of the viewer (once, about a minute)")
        _npm("ci", "--no-progress")
        (_packages() / _LOCK_HASH).write_text(lock)


def _packages() -> Path:
    return SOURCES / "node_modules"


def _require_node() -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    output = (
        ""
        if not node
        else subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    )
    version = tuple(int(number) for number in re.findall(r"\d+", output)[:2])
    if not npm or version < _MIN_NODE:
        required = ".".join(map(str, _MIN_NODE))
        raise NodeMissingError(
            f"viewer: needs Node {required} or newer with npm to be built"
            f" ({f'found {output.strip()}' if output else 'not found'}):"
            " install it and start again; everything else works without"
        )


def _npm(*arguments: str) -> None:
    done = subprocess.run(
        ["npm", *arguments],
        cwd=SOURCES,
        env={**os.environ, "CI": "1"},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-_TAIL_LINES:])
        raise BuildError(f"npm {' '.join(arguments)} failed in {SOURCES}:\n{last}")


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    options = _parser().parse_args(argv)
    if options.command == "publish":
        return _publish(options)
    try:
        check()
    except NodeMissingError as error:
        print_line(f"viewer: sources not checked: {error}")
    except BuildError as error:
        print_line(str(error))
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stack.viewer", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    publish = commands.add_parser("publish", help="build if needed, and copy to the served folder")
    publish.add_argument("--site", type=Path, required=True, help="folder that is served")
    publish.add_argument("--address", required=True, help="URL of the site")
    publish.add_argument("--traces", default="", help="URL of a trace, with {trace} in it")
    commands.add_parser("check", help="lint and type-check, if Node is installed")
    return parser


def _publish(options: argparse.Namespace) -> int:
    try:
        if not is_current():
            static_site.publish_placeholder(
                options.site, "The boards are being built", "This page reloads automatically."
            )
            build()
        static_site.publish(BUILT, BOARDS, options.site, {"traceUrl": options.traces})
    except BuildError as error:
        static_site.publish_placeholder(options.site, "The boards cannot be built here", str(error))
        print_line(str(error))
        return 1
    print_line(f"the boards are at {options.address}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
