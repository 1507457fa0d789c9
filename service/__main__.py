"""Command line of the service: ``python -m service --help``."""

import argparse
import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError

from service import openapi
from service.db import migrate
from service.db.database import connect
from service.errors import ServiceError
from service.main import build
from service.secret_files import SecretError, read_secret
from service.server.serve import serve
from service.settings import Settings
from service.users import repository
from service.users.passwords import Passwords
from service.users.schemas import Registration
from service.users.tables import Role, User


def main() -> int:
    """Run the command; return 0 on success."""
    arguments = _parser().parse_args()
    try:
        return int(arguments.run(Settings(), arguments))
    except ValidationError as error:
        for item in error.errors(include_input=False, include_context=False, include_url=False):
            where = ".".join(map(str, item["loc"]))
            print("service:", f"{where}: {item['msg']}" if where else item["msg"], file=sys.stderr)
    except (SecretError, ServiceError) as error:
        print(f"service: {error}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description="The API. Without a command it serves; settings are environment variables "
        "that begin with SERVICE_ (see service/settings.py).",
    )
    parser.set_defaults(run=_serve)
    commands = parser.add_subparsers(title="commands", metavar="")
    commands.add_parser("serve", help="serve HTTP (the default)").set_defaults(run=_serve)
    commands.add_parser("migrate", help="migrate the database schema").set_defaults(run=_migrate)
    admin = commands.add_parser("create-admin", help="create a user with the role admin")
    admin.add_argument("--email", required=True)
    admin.add_argument("--name", default="Admin")
    admin.add_argument("--password-file", required=True, type=Path, help="file with the password")
    admin.set_defaults(run=_create_admin)
    written = commands.add_parser("openapi", help="print the OpenAPI document")
    written.add_argument(
        "--output", type=Path, metavar="FILE", help="write it there, such as docs/openapi.json"
    )
    written.set_defaults(run=_write_openapi)
    return parser


def _serve(settings: Settings, _arguments: argparse.Namespace) -> int:
    return serve(settings, build(settings))


def _migrate(settings: Settings, _arguments: argparse.Namespace) -> int:
    async def run() -> None:
        database = connect(settings)
        try:
            await migrate.migrate(database)
        finally:
            await database.close()

    asyncio.run(run())
    return 0


def _create_admin(settings: Settings, arguments: argparse.Namespace) -> int:
    asyncio.run(_add_admin(settings, arguments))
    print(f"{arguments.email} is admin")
    return 0


def document(settings: Settings) -> str:
    """The OpenAPI document, as `docs/openapi.json` holds it."""
    with TemporaryDirectory() as folder:  # for the files of a service that never starts
        files = {
            "database_password_file": None,
            "jwt_key_file": Path(folder, "jwt-key"),
            "database_url": f"sqlite+aiosqlite:///{folder}/service.db",
        }
        return openapi.render(build(settings.model_copy(update=files)))


def _write_openapi(settings: Settings, arguments: argparse.Namespace) -> int:
    if arguments.output is None:
        print(document(settings), end="")
    else:
        arguments.output.write_text(document(settings), encoding="utf-8")
    return 0


async def _add_admin(settings: Settings, arguments: argparse.Namespace) -> None:
    password = read_secret(arguments.password_file, "the admin's password", least=8)
    wanted = Registration(email=arguments.email, name=arguments.name, password=password)
    database, passwords = connect(settings), Passwords(settings)
    try:
        if settings.migrate:
            await migrate.migrate(database)
        password_hash = await passwords.hash(wanted.password)
        async with database.writing() as session:
            user = User(
                email=wanted.email, name=wanted.name, password_hash=password_hash, role=Role.ADMIN
            )
            await repository.add(session, user)
    finally:
        passwords.close()
        await database.close()


if __name__ == "__main__":
    sys.exit(main())
