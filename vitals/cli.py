"""``vitals``: find slow statements, missing indexes and lock waits; find faults of the set-up."""

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vitals.doctor import command as doctor
from vitals.extras import MissingExtraError, needs_extra

PATH = "/vitals/bottlenecks"
DATABASE_URL = "VITALS_DATABASE_URL"
TIMEOUT = 10


class CommandError(Exception):
    """An error to report on the command line, with what to do about it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = _parser().parse_args(argv)
    if arguments.read is None:
        return doctor.run(arguments)
    try:
        found = arguments.read(arguments)
    except CommandError as error:
        print(f"vitals: {error}", file=sys.stderr)
        return 2
    if arguments.format == "json":
        print(json.dumps(found, indent=2))
    else:
        arguments.show(found)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vitals", description=__doc__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, what: str, read: Any, show: Any) -> argparse.ArgumentParser:
        subparser = commands.add_parser(name, help=what, description=what)
        subparser.add_argument("--format", choices=("text", "json"), default="text")
        subparser.set_defaults(read=read, show=show)
        return subparser

    examined = commands.add_parser("doctor", help=doctor.HELP)
    examined.set_defaults(read=None)
    doctor.add_arguments(examined)
    bottlenecks = command(
        "bottlenecks",
        "statements of a service by total database time",
        _bottlenecks,
        _show_bottlenecks,
    )
    plans = command("plans", "query plans of a service's slow statements", _plans, _show_plans)
    for subparser in (bottlenecks, plans):
        subparser.add_argument(
            "--url",
            default="http://127.0.0.1:8000",
            help="URL of the service (default: %(default)s)",
        )
        subparser.add_argument(
            "--token-file", type=Path, help="file with an administrator's bearer token"
        )
        subparser.add_argument(
            "--top", type=int, default=20, help="number of statements (default: %(default)s)"
        )
    for name, what, show in (
        (
            "advise",
            "indexes that would make a statement cheaper, on PostgreSQL (HypoPG) or SQLite",
            _show_advice,
        ),
        ("indexes", "unused, duplicate and missing indexes", _show_indexes),
        ("locks", "current lock waits, on PostgreSQL", _show_locks),
    ):
        subparser = command(name, what, _query(name), show)
        subparser.add_argument(
            "--database",
            metavar="URL",
            help="such as postgresql+asyncpg://reader@127.0.0.1/shop; other users can see command "
            f"lines, so put a password into {DATABASE_URL} or the password file",
        )
        subparser.add_argument("--password-file", type=Path, help="file with the database password")
        if name == "advise":
            subparser.add_argument("sql", help="the statement with its values; it is not executed")
    return parser


def _bottlenecks(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    return _fetch_bottlenecks(arguments)[: arguments.top]


def _plans(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    fields = ("summary", "fingerprint", "text", "mean", "p95", "plan", "advice")
    explained = [one for one in _fetch_bottlenecks(arguments) if one["plan"]][: arguments.top]
    return [{name: one[name] for name in fields} for one in explained]


def _fetch_bottlenecks(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    if not arguments.url.startswith(("http://", "https://")):
        raise CommandError(f"--url {arguments.url!r} must begin with http:// or https://")
    request = urllib.request.Request(arguments.url.rstrip("/") + PATH)  # noqa: S310  # checked above
    if arguments.token_file is not None:
        request.add_header("authorization", f"Bearer {_secret(arguments.token_file)}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
            found: list[dict[str, Any]] = json.load(response)["bottlenecks"]
    except urllib.error.HTTPError as error:
        hint = {
            401: "use --token-file",
            403: "the token is not an administrator's",
            404: "the page is not enabled: instrument(app, admin=...)",
        }.get(error.code, error.reason)
        error.close()
        raise CommandError(f"{arguments.url} responded with {error.code}: {hint}") from error
    except (OSError, ValueError, LookupError) as error:
        raise CommandError(f"cannot read bottlenecks from {arguments.url}: {error}") from error
    return found


def _query(name: str) -> Callable[[argparse.Namespace], list[dict[str, Any]]]:
    def run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
        try:
            with needs_extra("sql", f"vitals {name}"):
                from vitals.db import database_commands
        except MissingExtraError as missing:
            raise CommandError(str(missing)) from missing
        given = arguments.database or os.environ.get(DATABASE_URL)
        if not given:
            raise CommandError(f"no database given: use --database or set {DATABASE_URL}")
        password = None if arguments.password_file is None else _secret(arguments.password_file)
        sql = getattr(arguments, "sql", "")
        try:
            found = database_commands.run(name, given, password=password, sql=sql)
        except database_commands.DatabaseCommandError as error:
            raise CommandError(str(error)) from error
        return [asdict(one) for one in found]

    return run


def _secret(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror}") from error


def _show_bottlenecks(found: list[dict[str, Any]]) -> None:
    if not found:
        print("no statements yet")
    for number, one in enumerate(found, 1):
        print(
            f"{number:3}. {one['share']:4.0%}  {one['seconds']:.3f} s = {one['calls']} x "
            f"{one['mean'] * 1e3:.2f} ms (p95 {one['p95'] * 1e3:.1f} ms, slowest "
            f"{one['slowest'] * 1e3:.1f} ms)  {one['summary']}"
        )
        print(f"     {one['text']}")
        for share in one["routes"]:
            where = share["route"] or "outside requests"
            print(
                f"     {where}: {share['calls']} calls, {share['seconds']:.3f} s, {share['source']}"
            )
        for advice in one["advice"]:
            print(f"     > {advice}")


def _show_plans(found: list[dict[str, Any]]) -> None:
    if not found:
        print("no plans yet: slow statements are explained, each once an hour")
    for one in found:
        print(
            f"{one['summary']}  mean {one['mean'] * 1e3:.2f} ms, p95 {one['p95'] * 1e3:.1f} ms, "
            f"plan shape {one['plan']['shape']}\n  {one['text']}"
        )
        for line in one["plan"]["lines"]:
            print(f"    {line}")
        for advice in one["advice"]:
            print(f"  > {advice}")


def _show_indexes(found: list[dict[str, Any]]) -> None:
    if not found:
        print("no findings: no unused or duplicate index, no foreign key without an index")
    for one in found:
        print(f"{one['kind']:10} {one['table']}  {one['index']}")
        print(f"           {one['reason']}\n           {one['remedy']}")


def _show_locks(found: list[dict[str, Any]]) -> None:
    if not found:
        print("no lock waits")
    for one in found:
        print(
            f"PID {one['waiting_pid']} has waited {one['waited']:.1f} s for PID "
            f"{one['blocking_pid']} ({one['application'] or 'no application name'}, "
            f"{one['state']}, transaction open for {one['transaction']:.1f} s)"
        )
        print(f"  waiting:  {one['waiting']}\n  blocking: {one['blocking']}")


def _show_advice(found: list[dict[str, Any]]) -> None:
    for one in found:
        print(f"estimated cost {one['cost_before']:.0f}", end="")
        if one["indexes"]:
            size = f"about {one['bytes'] / 1e6:.1f} MB"
            print(f", {one['cost_after']:.0f} with these indexes ({size}):")
        else:
            print(": no index would reduce it much")
        for statement in one["indexes"]:
            print(f"  {statement};")
        for note in one["notes"]:
            print(f"  > {note}")
