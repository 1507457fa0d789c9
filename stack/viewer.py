"""Builds the viewer of the boards when its sources changed, and publishes it with the boards.

Publishing is a part of the stack that nobody waits for: without Node, or without a network to fetch
the packages from, everything else works, and this says what is missing.
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
from stack.terminal import tell

SOURCES = CHECKOUT / "grafana" / "viewer"
BOARDS = CHECKOUT / "grafana" / "dashboards"
BUILT = SOURCES / "dist"
_LEAST_NODE = (20, 19)
_STAMP = "sources.sha256"
_FETCHED = ".lock.sha256"
_CHECKED = ".checked.sha256"
_TOLD = 40
"""Lines of what npm said last."""
_NOT_SOURCES = {"dist", "node_modules"}


class UnbuildableError(RuntimeError):
    """The viewer cannot be built here; the message says what to do."""


class NodeMissingError(UnbuildableError):
    """There is no Node here, or it is too old."""


def fingerprint() -> str:
    """What the sources are, in 64 hex digits."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.rglob("*")):
        inside = path.relative_to(SOURCES)
        if path.is_file() and inside.parts[0] not in _NOT_SOURCES:
            digest.update(f"{inside.as_posix()}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def is_fresh() -> bool:
    """Whether what is built was built from these sources."""
    return _read(BUILT / _STAMP) == fingerprint()


def build() -> None:
    """Build unless what is built is fresh.

    Raises:
        NodeMissingError: There is nothing to build it with.
        UnbuildableError: A step failed.
    """
    with _alone():
        if is_fresh():
            return
        _fetch()
        _say("building the viewer (half a minute)")
        before = fingerprint()
        _npm("run", "build")
        (BUILT / _STAMP).write_text(before)


def check() -> None:
    """Lint the sources and check their types, unless these very sources passed before.

    Raises:
        NodeMissingError: There is nothing to check them with.
        UnbuildableError: There is something to complain of.
    """
    with _alone():
        _fetch()
        now = fingerprint()
        if _read(_packages() / _CHECKED) != now:
            _npm("run", "check")
            (_packages() / _CHECKED).write_text(now)


@contextmanager
def _alone() -> Iterator[None]:
    """Wait for whoever fetches or builds here: two at once leave neither whole."""
    folder = os.open(SOURCES, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _fetch() -> None:
    """Fetch the packages if they are missing or others are wanted by now."""
    _demand_node()
    lock = hashlib.sha256((SOURCES / "package-lock.json").read_bytes()).hexdigest()
    if _read(_packages() / _FETCHED) != lock:
        _say("fetching the packages of the viewer (once, about a minute)")
        _npm("ci", "--no-progress")
        (_packages() / _FETCHED).write_text(lock)


def _packages() -> Path:
    return SOURCES / "node_modules"


def _demand_node() -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    said = (
        ""
        if not node
        else subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    )
    version = tuple(int(part) for part in re.findall(r"\d+", said)[:2])
    if not npm or version < _LEAST_NODE:
        wanted = ".".join(map(str, _LEAST_NODE))
        raise NodeMissingError(
            f"the boards need Node {wanted} or newer with npm, once, to be built"
            f" ({f'this is {said.strip()}' if said else 'there is none here'})."
            " Install it and start again. Everything else works without."
        )


def _npm(*words: str) -> None:
    done = subprocess.run(
        ["npm", *words],
        cwd=SOURCES,
        env={**os.environ, "CI": "1"},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-_TOLD:])
        raise UnbuildableError(f"npm {' '.join(words)} failed in {SOURCES}:\n{last}")


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _say(words: str) -> None:
    tell(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run a command; the exit code."""
    asked = _parser().parse_args(words)
    if asked.command == "publish":
        return _publish(asked)
    try:
        check()
    except NodeMissingError as error:
        _say(f"the viewer's sources are not checked: {error}")
    except UnbuildableError as error:
        _say(str(error))
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stack.viewer", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    publish = commands.add_parser("publish", help="build if needed, and put it where it is served")
    publish.add_argument("--site", type=Path, required=True, help="the folder that is served")
    publish.add_argument("--address", required=True, help="where the site will be found")
    publish.add_argument("--traces", default="", help="a trace's address, with {trace} in it")
    commands.add_parser("check", help="lint and check types, where Node is")
    return parser


def _publish(asked: argparse.Namespace) -> int:
    try:
        if not is_fresh():
            static_site.wait(
                asked.site, "The boards are being built", "This page looks again by itself."
            )
            build()
        static_site.publish(BUILT, BOARDS, asked.site, {"traceUrl": asked.traces})
    except UnbuildableError as error:
        static_site.wait(asked.site, "The boards cannot be built here", str(error))
        _say(str(error))
        return 1
    _say(f"the boards are at {asked.address}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
