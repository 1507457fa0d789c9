"""Watch services that run already: Prometheus, Alertmanager, boards, traces and logs.

Prometheus and Alertmanager are those on PATH. Everything listens on loopback and ends with this
command. Ports, retention, receivers of alerts and an address for a team are environment variables:
--settings prints them.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from stack import run, settings, watched_services
from stack.install import packages
from stack.installation.paths import DATA, Installation
from stack.text_table import text_table
from stack.watched_services import WatchedRedis, WatchedService


def main(arguments: Sequence[str], *, command: str, data: Path) -> int:
    """Run the command of the installed package; returns the exit code.

    Args:
        arguments: Of the command line.
        command: How the user has called it, for messages.
        data: Folder of all data, unless the user has chosen one.
    """
    options = _parser(command, data).parse_args(arguments)
    chosen = options.data or Path(os.environ.get(DATA) or data)
    try:
        return _run(options, command, {**os.environ, DATA: str(chosen)})
    except KeyboardInterrupt:
        return 130
    except (OSError, RuntimeError, LookupError, ValueError) as error:  # messages say what to do
        print(f"{command}: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace, command: str, environment: Mapping[str, str]) -> int:
    settings.check(environment)
    if options.settings:
        print(text_table(settings.rows(environment), ("setting", "value", "meaning")))
        return 0
    if options.status:
        return run.status(Installation.here(environment), command)
    watched = services(options)
    packages.require_watch(for_door=bool(environment.get("PUBLIC_URL")))
    return run.run(
        Installation.here(environment),
        command=command,
        fast=options.fast,
        watched=watched,
        redis=redis(options),
    )


def _parser(command: str, data: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help=f"folder of all data (default: {DATA} of the environment, else {data})",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--status", action="store_true", help="print what runs, and its addresses; watch nothing"
    )
    instead.add_argument("--settings", action="store_true", help="print all settings likewise")
    return parser


def services(options: argparse.Namespace) -> list[WatchedService]:
    """The services that the options name, on the command line or in a file.

    Raises:
        WatchSettingsError: A setting is wrong.
        OSError: The file cannot be read.
    """
    if options.config:
        return watched_services.read(options.config)
    return [
        WatchedService(
            options.job,
            targets=tuple(options.targets),
            token_file=options.token_file,
            files=tuple(options.targets_file),
            dns=tuple(options.dns),
            docker=options.docker,
        )
    ]


def redis(options: argparse.Namespace) -> WatchedRedis | None:
    """The Redis that the options name, if any.

    Raises:
        WatchSettingsError: The address is none of Redis, or has a password in it.
    """
    return WatchedRedis(options.redis, options.redis_password_file) if options.redis else None


def add_arguments(watch: argparse.ArgumentParser) -> None:
    """Add the options to the parser of the command."""
    watch.add_argument("targets", nargs="*", metavar="HOST:PORT", help="an instance of the service")
    watch.add_argument("--job", default="", metavar="NAME", help="the service's name on boards")
    watch.add_argument(
        "--token-file", type=Path, metavar="FILE", help="the bearer token of its /metrics"
    )
    watch.add_argument(
        "--targets-file",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a file of targets, as of Prometheus' file_sd_configs; it is read when it changes",
    )
    watch.add_argument(
        "--dns",
        action="append",
        default=[],
        metavar="NAME:PORT",
        help="a name whose addresses are its instances",
    )
    watch.add_argument(
        "--docker",
        type=int,
        default=0,
        metavar="PORT",
        help="the port of its containers, which have the label vitals.job=NAME",
    )
    watch.add_argument(
        "--redis",
        default="",
        metavar="URL",
        help="the Redis behind it, redis://USER@HOST:PORT: read for the board Redis and its alerts",
    )
    watch.add_argument(
        "--redis-password-file", type=Path, metavar="FILE", help="the password of that user"
    )
    watch.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="several services: a mapping, in YAML, of jobs to targets, token_file, files, dns, "
        "docker, scheme and path",
    )
    watch.add_argument(
        "--fast",
        action="store_true",
        help="run the rules many times faster, as drills do, and notify the inbox only",
    )
