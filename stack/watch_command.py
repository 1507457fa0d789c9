"""Options of ``python -m stack watch``: which services are watched."""

import argparse
from pathlib import Path

from stack import watched_services
from stack.watched_services import WatchedRedis, WatchedService


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
            targets=tuple(options.target),
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
    watch.add_argument("--job", default="", metavar="NAME", help="the service's name on boards")
    watch.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="an instance of it; may be given several times",
    )
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
