"""``vitals``: ask a running service or its database where the time goes."""

import argparse
import asyncio
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, NullPool, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from vitals.db.indexes import index_audit, postgresql_advisor, sqlite_advisor
from vitals.db.insight import locks

PATH = "/vitals/bottlenecks"
DATABASE_URL = "VITALS_DATABASE_URL"
SECONDS = 10


class CommandError(Exception):
    """What went wrong, and what to do about it."""


def main(words: Sequence[str] | None = None) -> int:
    """Do what the command line says; 0 when it went well."""
    chosen = _parser().parse_args(words)
    try:
        found = chosen.read(chosen)
    except CommandError as error:
        print(f"vitals: {error}", file=sys.stderr)
        return 2
    if chosen.format == "json":
        print(json.dumps(found, indent=2))
    else:
        chosen.show(found)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vitals", description=__doc__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, what: str, read: Any, show: Any) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=what, description=what)
        added.add_argument("--format", choices=("text", "json"), default="text")
        added.set_defaults(read=read, show=show)
        return added

    ranked = command(
        "bottlenecks", "a service's statements by their total time", _bottlenecks, _show_ranked
    )
    planned = command(
        "plans", "how a service's database carries out its slow statements", _plans, _show_plans
    )
    for asking in (ranked, planned):
        asking.add_argument(
            "--url", default="http://127.0.0.1:8000", help="the service (%(default)s)"
        )
        asking.add_argument(
            "--token-file", type=Path, help="holds the bearer token of an administrator"
        )
        asking.add_argument("--top", type=int, default=20, help="how many (%(default)s)")
    for name, what, read, show in (
        (
            "advise",
            "indexes that a statement lacks, on PostgreSQL (HypoPG) or SQLite",
            None,
            _show_advice,
        ),
        (
            "indexes",
            "indexes that are unused, duplicate or missing",
            index_audit.read,
            _show_indexes,
        ),
        ("locks", "who waits for whose lock, on PostgreSQL", locks.read, _show_locks),
    ):
        asked = command(name, what, _asking(read), show)
        asked.add_argument(
            "--database",
            metavar="URL",
            help="such as postgresql+asyncpg://reader@127.0.0.1/shop; others see command lines, so "
            f"a password belongs into {DATABASE_URL} or the password file",
        )
        asked.add_argument("--password-file", type=Path, help="holds the database's password")
        if name == "advise":
            asked.add_argument("sql", help="the statement, with its values; it is not executed")
    return parser


def _bottlenecks(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    return _ranked(chosen)[: chosen.top]


def _plans(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    wanted = ("summary", "fingerprint", "text", "mean", "p95", "plan", "advice")
    planned = [one for one in _ranked(chosen) if one["plan"]][: chosen.top]
    return [{name: one[name] for name in wanted} for one in planned]


def _ranked(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    if not chosen.url.startswith(("http://", "https://")):
        raise CommandError(f"--url {chosen.url!r} must begin with http:// or https://")
    request = urllib.request.Request(chosen.url.rstrip("/") + PATH)  # noqa: S310  # checked above
    if chosen.token_file is not None:
        request.add_header("authorization", f"Bearer {_secret(chosen.token_file)}")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            found: list[dict[str, Any]] = json.load(answer)["bottlenecks"]
    except urllib.error.HTTPError as error:
        hint = {
            401: "give --token-file",
            403: "the token is not an administrator's",
            404: "the service leaves the page off: instrument(app, admin=...)",
        }.get(error.code, error.reason)
        error.close()
        raise CommandError(f"{chosen.url} answered {error.code}: {hint}") from error
    except (OSError, ValueError, LookupError) as error:
        raise CommandError(f"no list from {chosen.url}: {error}") from error
    return found


def _asking(
    read: Callable[[Connection], list[Any]] | None,
) -> Callable[[argparse.Namespace], Any]:
    def ask(chosen: argparse.Namespace) -> list[dict[str, Any]]:
        def advise(connection: Connection) -> list[Any]:
            on_sqlite = connection.dialect.name == "sqlite"
            judge = sqlite_advisor.advise if on_sqlite else postgresql_advisor.advise
            return [judge(connection, chosen.sql)]

        try:
            found = asyncio.run(_ask(chosen, read or advise))
        except ArgumentError as error:
            raise CommandError(
                "--database is no URL such as sqlite+aiosqlite:///shop.db"
            ) from error
        except ModuleNotFoundError as error:
            raise CommandError(f"the driver is missing: pip install {error.name}") from error
        except (SQLAlchemyError, OSError, ValueError) as error:
            raise CommandError(f"no answer from the database: {error}") from error
        return [asdict(one) for one in found]

    return ask


async def _ask(chosen: argparse.Namespace, read: Callable[[Connection], list[Any]]) -> list[Any]:
    given = chosen.database or os.environ.get(DATABASE_URL)
    if not given:
        raise CommandError(f"which database? give --database or set {DATABASE_URL}")
    url = make_url(given)
    if chosen.password_file is not None:
        url = url.set(password=_secret(chosen.password_file))
    engine = create_async_engine(url, hide_parameters=True, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            if url.get_backend_name() == "postgresql":
                await connection.execute(text("SET TRANSACTION READ ONLY"))
                await connection.execute(text(f"SET LOCAL statement_timeout = '{SECONDS}s'"))
            return await connection.run_sync(read)
    finally:
        await engine.dispose()


def _secret(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror}") from error


def _show_ranked(found: list[dict[str, Any]]) -> None:
    if not found:
        print("no statement was sent yet")
    for number, one in enumerate(found, 1):
        print(
            f"{number:3}. {one['share']:4.0%}  {one['seconds']:.3f} s = {one['calls']} x "
            f"{one['mean'] * 1e3:.2f} ms (p95 {one['p95'] * 1e3:.1f} ms, slowest "
            f"{one['slowest'] * 1e3:.1f} ms)  {one['summary']}"
        )
        print(f"     {one['text']}")
        for part in one["routes"]:
            where = part["route"] or "outside of requests"
            print(f"     {where}: {part['calls']} calls, {part['seconds']:.3f} s, {part['source']}")
        for advice in one["advice"]:
            print(f"     > {advice}")


def _show_plans(found: list[dict[str, Any]]) -> None:
    if not found:
        print("no plan yet: a statement is explained when it was slow, once an hour")
    for one in found:
        print(
            f"{one['summary']}  mean {one['mean'] * 1e3:.2f} ms, p95 {one['p95'] * 1e3:.1f} ms, "
            f"shape {one['plan']['shape']}\n  {one['text']}"
        )
        for line in one["plan"]["lines"]:
            print(f"    {line}")
        for advice in one["advice"]:
            print(f"  > {advice}")


def _show_indexes(found: list[dict[str, Any]]) -> None:
    if not found:
        print("nothing to say: every index is used, none twice, no foreign key without one")
    for one in found:
        print(f"{one['kind']:10} {one['table']}  {one['index']}")
        print(f"           {one['reason']}\n           {one['remedy']}")


def _show_locks(found: list[dict[str, Any]]) -> None:
    if not found:
        print("nobody waits")
    for one in found:
        print(
            f"{one['waiting_pid']} waits {one['waited']:.1f} s for {one['blocking_pid']} "
            f"({one['application'] or 'unnamed'}, {one['state']}, transaction of "
            f"{one['transaction']:.1f} s)"
        )
        print(f"  waiting:  {one['waiting']}\n  blocking: {one['blocking']}")


def _show_advice(found: list[dict[str, Any]]) -> None:
    for one in found:
        print(f"cost {one['cost_before']:.0f}", end="")
        if one["indexes"]:
            print(f", {one['cost_after']:.0f} with (about {one['bytes'] / 1e6:.1f} MB)")
        else:
            print(": no index would make it cheaper by much")
        for statement in one["indexes"]:
            print(f"  {statement};")
        for note in one["notes"]:
            print(f"  > {note}")
