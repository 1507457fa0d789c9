"""Builds the viewer of the boards if its sources changed, and publishes it with the boards.

Publishing is an optional task of the stack: without Node, or without a network to fetch packages
from, everything else works, and the error says what is missing.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from export import static_site
from stack.install import npm
from stack.install.stamp import is_current as is_stamped
from stack.install.stamp import locked, once
from stack.installation.paths import CHECKOUT
from stack.terminal import print_line

SOURCES = CHECKOUT / "grafana" / "viewer"
BOARDS = CHECKOUT / "grafana" / "dashboards"
RUNBOOKS = CHECKOUT / "alerts" / "runbooks"
BUILT = SOURCES / "dist"
_BUILT_HASH = "sources.sha256"
_CHECKED_HASH = ".checked.sha256"
_PURPOSE = "the packages of the viewer"
_NOT_SOURCES = {"dist", "node_modules"}


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
    """Whether the build output was built from the current sources, or comes without them."""
    if not (SOURCES / "package.json").exists():
        return BUILT.exists()
    return is_stamped(BUILT / _BUILT_HASH, sources_hash())


def build() -> None:
    """Build unless the output is current.

    Raises:
        NodeMissingError: Node is missing.
        NpmError: A step failed.
    """
    with locked(SOURCES), once(BUILT / _BUILT_HASH, sources_hash()) as stale:
        if stale:
            npm.install(SOURCES, _PURPOSE)
            print_line("building the viewer (half a minute)")
            npm.run(SOURCES, "run", "build")


def check() -> None:
    """Lint and type-check the sources, unless the same sources passed before.

    Raises:
        NodeMissingError: Node is missing.
        NpmError: The check failed.
    """
    with locked(SOURCES):
        npm.install(SOURCES, _PURPOSE)
        checked = SOURCES / "node_modules" / _CHECKED_HASH
        with once(checked, sources_hash()) as unchecked:
            if unchecked:
                npm.run(SOURCES, "run", "check")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    options = _parser().parse_args(argv)
    if options.command == "publish":
        return _publish(options)
    try:
        check()
    except npm.NodeMissingError as error:
        print_line(f"viewer: sources not checked: {error}")
    except npm.NpmError as error:
        print_line(str(error))
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stack.viewer", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    publish = commands.add_parser("publish", help="build if needed, and copy to the served folder")
    publish.add_argument("--site", type=Path, required=True, help="folder that is served")
    publish.add_argument("--address", required=True, help="URL of the site")
    publish.add_argument(
        "--traces", default="", help="URL of a trace elsewhere, with {trace} in it; by default here"
    )
    publish.add_argument("--store", default="", help="URL of the store of traces and logs")
    publish.add_argument("--issues", default="", help="URL of the issue tracker")
    commands.add_parser("check", help="lint and type-check, if Node is installed")
    return parser


def _publish(options: argparse.Namespace) -> int:
    try:
        if not is_current():
            static_site.publish_placeholder(
                options.site,
                "The boards are being built",
                "This page reloads automatically.",
                RUNBOOKS,
            )
            build()
        settings = {
            "traceUrl": options.traces,
            "storeUrl": options.store,
            "issuesUrl": options.issues,
        }
        static_site.publish(BUILT, BOARDS, RUNBOOKS, options.site, settings)
    except npm.NpmError as error:
        static_site.publish_placeholder(
            options.site, "The boards cannot be built here", str(error), RUNBOOKS
        )
        print_line(f"the boards cannot be built; everything else works without them: {error}")
        return 1
    print_line(f"the boards are at {options.address}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
