"""``vitals``: find slow statements, lines and leaks, missing indexes, locks; watch services."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vitals import cli_locks, cli_memory, cli_text, cli_watch
from vitals.cli_service import (
    CommandError,
    Found,
    fetch_bottlenecks,
    fetch_memory,
    fetch_profile,
    read_secret,
)
from vitals.doctor import command as doctor
from vitals.extras import MissingExtraError, needs_extra

URL = "VITALS_URL"
USER = "VITALS_USER"
USER_PASSWORD_FILE = "VITALS_USER_PASSWORD_FILE"  # noqa: S105  # a variable's name
TOKEN_FILE = "VITALS_TOKEN_FILE"  # noqa: S105  # a variable's name
DATABASE_URL = "VITALS_DATABASE_URL"
PASSWORD_FILE = "VITALS_DATABASE_PASSWORD_FILE"  # noqa: S105  # a variable's name
DEFAULT_URL = "http://127.0.0.1:8000"
EXIT_STATUS = """exit status:
  0  done, whether or not there are findings
  2  it could not be done; the message says what to do
"""
_WRONG, _BROKEN_PIPE, _INTERRUPTED = 2, 141, 130
"""Statuses: of an error; and of a shell for a command that SIGPIPE or SIGINT ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    try:
        try:
            return _run(sys.argv[1:] if argv is None else argv)
        finally:
            if sys.stdout is not None:  # closed by the caller
                sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as head, has enough. Python flushes again at its end, to nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        return _INTERRUPTED


def _run(argv: Sequence[str]) -> int:
    if argv and argv[0] in cli_watch.COMMANDS:
        try:
            return cli_watch.run(argv[0], argv[1:])
        except CommandError as error:
            print(f"vitals: {error}", file=sys.stderr)
            return _WRONG
    arguments = _parser().parse_args(argv)
    if arguments.read is None:
        return doctor.run(arguments)
    try:
        found = arguments.read(arguments)
    except CommandError as error:
        print(f"vitals: {error}", file=sys.stderr)
        return _WRONG
    if arguments.format == "json":
        print(json.dumps(found[0] if arguments.is_one else found, indent=2))
    elif arguments.format == "table":
        cli_locks.show_table(found)
    else:
        arguments.show(found)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vitals",
        description=(__doc__ or "").partition(": ")[2].capitalize(),
        epilog="vitals COMMAND --help describes a command.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(
        name: str, what: str, description: str, read: Any, show: Any, *formats: str
    ) -> argparse.ArgumentParser:
        subparser = commands.add_parser(
            name,
            help=what,
            description=description,
            epilog=EXIT_STATUS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        output = subparser.add_mutually_exclusive_group()
        output.add_argument("--format", choices=("text", *formats, "json"), default="text")
        output.add_argument(
            "--json",
            action="store_const",
            const="json",
            dest="format",
            help="the same as --format json",
        )
        subparser.set_defaults(read=read, show=show, is_one=False)
        return subparser

    examined = commands.add_parser("doctor", help=doctor.HELP)
    examined.set_defaults(read=None)
    doctor.add_arguments(examined)
    bottlenecks = command(
        "bottlenecks",
        "statements of a service by total database time",
        _BOTTLENECKS,
        _bottlenecks,
        cli_text.show_bottlenecks,
    )
    plans = command(
        "plans",
        "query plans of a service's slow statements",
        _PLANS,
        _plans,
        cli_text.show_plans,
    )
    for subparser in (bottlenecks, plans):
        _add_service_arguments(subparser)
        _add_ranking_arguments(subparser)
    _add_profile(commands)
    memory = command(
        "memory",
        "lines, types and containers that a service's memory grows by",
        _MEMORY,
        fetch_memory,
        cli_memory.show,
    )
    memory.set_defaults(is_one=True)
    _add_service_arguments(memory)
    _add_memory_arguments(memory)
    _add_database_commands(command)
    for name, what in cli_watch.COMMANDS.items():
        commands.add_parser(name, help=what)
    return parser


def _add_profile(commands: Any) -> None:
    profile = commands.add_parser(
        "profile",
        help="where a service spends its time, as a flame graph",
        description=_PROFILE,
        epilog=EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    profile.set_defaults(read=_profile, format="text", show=_show_nothing, is_one=False)
    _add_service_arguments(profile)
    _add_profile_arguments(profile)


def _add_database_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands that ask a database."""
    for name, what, description, show in (
        ("advise", "indexes that would make a statement cheaper", _ADVISE, cli_text.show_advice),
        ("indexes", "unused, duplicate and missing indexes", _INDEXES, cli_text.show_indexes),
        ("locks", "who blocks whom", _LOCKS, cli_locks.show),
    ):
        formats = ("table",) if name == "locks" else ()
        subparser = command(name, what, description, _query(name), show, *formats)
        subparser.add_argument(
            "--database",
            metavar="URL",
            help="such as postgresql+asyncpg://reader@127.0.0.1/shop; other users can see command "
            f"lines, so put a password into the password file or into {DATABASE_URL}, which is the "
            "default",
        )
        subparser.add_argument(
            "--password-file",
            type=Path,
            metavar="FILE",
            default=os.environ.get(PASSWORD_FILE),
            help=f"file with the database password (default: {PASSWORD_FILE} of the environment)",
        )
        if name == "advise":
            subparser.add_argument("sql", help="the statement with its values; it is not executed")


def _add_service_arguments(subparser: argparse.ArgumentParser) -> None:
    subparser.add_argument(
        "--url",
        default=os.environ.get(URL) or DEFAULT_URL,
        help=f"URL of the service (default: {URL} of the environment, else {DEFAULT_URL})",
    )
    subparser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        default=os.environ.get(TOKEN_FILE),
        help=f"file with an administrator's bearer token (default: {TOKEN_FILE})",
    )
    subparser.add_argument(
        "--user",
        metavar="NAME",
        default=os.environ.get(USER),
        help=f"instead of a token: an administrator's name or e-mail address (default: {USER})",
    )
    subparser.add_argument(
        "--user-password-file",
        type=Path,
        metavar="FILE",
        default=os.environ.get(USER_PASSWORD_FILE),
        help=f"file with that user's password (default: {USER_PASSWORD_FILE})",
    )


def _add_profile_arguments(subparser: argparse.ArgumentParser) -> None:
    subparser.add_argument(
        "--seconds",
        type=int,
        default=30,
        metavar="N",
        help="how long to sample, up to 300 (default: 30); 0: what is kept of the last 15 minutes",
    )
    subparser.add_argument(
        "--format",
        choices=("speedscope", "pprof", "folded"),
        default="speedscope",
        dest="profile_format",
        help="of the file (default: speedscope, for https://www.speedscope.app)",
    )
    subparser.add_argument("--route", help="a route template, such as /orders/{id}; else all")
    subparser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="the file (default: profile.speedscope.json, profile.pb.gz or profile.folded)",
    )


def _add_memory_arguments(subparser: argparse.ArgumentParser) -> None:
    subparser.add_argument(
        "url", nargs="?", default=argparse.SUPPRESS, metavar="URL", help="the same as --url"
    )
    subparser.add_argument(
        "--seconds",
        type=_count,
        default=30,
        metavar="N",
        help="how long to look, from 1 to 300 (default: %(default)s); it ends early when it has "
        "seen enough",
    )
    subparser.add_argument(
        "--top",
        type=_count,
        default=10,
        metavar="N",
        help="number of lines, containers and types, up to 100 (default: %(default)s)",
    )


def _add_ranking_arguments(subparser: argparse.ArgumentParser) -> None:
    subparser.add_argument(
        "--range",
        choices=("15m", "1h", "start"),
        default="15m",
        help="what counts: the last 15 minutes (default), the last hour, or all since the start",
    )
    subparser.add_argument(
        "--top",
        type=_count,
        default=20,
        metavar="N",
        help="number of statements (default: %(default)s)",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a number from 1 on")
    return int(text)


def _bottlenecks(arguments: argparse.Namespace) -> Found:
    return fetch_bottlenecks(arguments)[: arguments.top]


def _profile(arguments: argparse.Namespace) -> Found:
    kind = {"speedscope": "speedscope.json", "pprof": "pb.gz", "folded": "folded"}
    file = arguments.output or Path(f"profile.{kind[arguments.profile_format]}")
    content = fetch_profile(arguments)
    try:
        file.write_bytes(content)
    except OSError as error:
        raise CommandError(f"cannot write {file}: {error.strerror}; give --output") from error
    print(f"wrote {file}")
    return []


def _show_nothing(_: Found) -> None:
    """What there was to show is in a file."""


def _plans(arguments: argparse.Namespace) -> Found:
    fields = ("summary", "fingerprint", "text", "mean", "p95", "plan", "advice")
    explained = [one for one in fetch_bottlenecks(arguments) if one["plan"]][: arguments.top]
    return [{name: one[name] for name in fields} for one in explained]


def _query(name: str) -> Callable[[argparse.Namespace], Found]:
    def run(arguments: argparse.Namespace) -> Found:
        try:
            with needs_extra("sql", f"vitals {name}"):
                from vitals.db import database_commands
        except MissingExtraError as missing:
            raise CommandError(str(missing)) from missing
        given = arguments.database or os.environ.get(DATABASE_URL)
        if not given:
            raise CommandError(f"no database given: use --database or set {DATABASE_URL}")
        password = None if arguments.password_file is None else read_secret(arguments.password_file)
        sql = getattr(arguments, "sql", "")
        try:
            found = database_commands.run(name, given, password=password, sql=sql)
        except database_commands.DatabaseCommandError as error:
            raise CommandError(str(error)) from error
        return [asdict(one) for one in found]

    return run


_BOTTLENECKS = """\
Rank the statements of a running service by their total database time, with the
routes and lines that send them and what to change. It reads /vitals/bottlenecks,
which instrument(app, admin=...) enables."""
_PROFILE = """\
Sample the threads of a running service, by route, and write a file that shows the lines
in which they spend their time. It reads /vitals/profile, which instrument(app,
admin=...) enables, of the process that answers."""
_MEMORY = """\
Trace for some seconds what a running service allocates, and name the lines, types and
containers that grew: what requests only use is left out, and what is not in Python's
objects is told apart. Allocations are several times as slow meanwhile. It reads
/vitals/memory of the process that answers: with an administrator's token, or from the
service's own machine where instrument(app, admin=...) is not set."""
_PLANS = """\
Show the newest plan of each slow statement of a running service, its age, and what
to change. It reads /vitals/bottlenecks, which instrument(app, admin=...) enables."""
_ADVISE = """\
Find the indexes that would make a statement cheaper, on PostgreSQL (with the
extension HypoPG) or SQLite. Nothing is executed, and no index is created."""
_INDEXES = """\
Find unused, duplicate and missing indexes, on PostgreSQL or SQLite. Nothing is
changed. An index is called unused only when the counters are a week old or older,
and never if it serves a foreign key or a constraint."""
_LOCKS = """\
Show who blocks whom right now, for how long, by which statement and application: as a
tree, or with --format table a line for each wait. On PostgreSQL, what the role may not
see is said to be unknown; grant it pg_read_all_stats. On SQLite, the processes that
hold locks, as the kernel knows them. Statements are shown without their values."""


if __name__ == "__main__":
    sys.exit(main())
