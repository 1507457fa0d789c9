"""Writes the migration to what the tables declare: ``make migration NAME=add_reviews``.

The tables are compared with a new SQLite database at the newest revision. Read what was written
before you commit it: Alembic does not see renames, and takes types from SQLite.
"""

import argparse
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import StaticPool

from service.db.database import Base
from service.db.migrate import configuration

_NAME = re.compile(r"[a-z][a-z0-9_]{2,59}")


def write(name: str, folder: Path | None = None) -> Path:
    """Write a migration and return its file.

    Args:
        name: Words joined by underscores, such as ``add_reviews``.
        folder: Where it is written; beside the others by default.

    Raises:
        ValueError: The name cannot be that of a file.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r}: name it in lower-case words joined by _, such as add_reviews")
    with _newest(folder) as (config, _):
        newest = ScriptDirectory.from_config(config).get_current_head() or "0000"
        script = command.revision(
            config,
            message=name,
            autogenerate=True,
            rev_id=f"{int(newest) + 1:04}",
            version_path=str(folder) if folder else None,
        )
    found = script[0] if isinstance(script, list) else script
    if found is None:
        raise RuntimeError("Alembic wrote no file")
    return Path(found.path)


def is_needed() -> bool:
    """Whether the tables declare what no migration makes."""
    with _newest() as (_, connection):
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return bool(compare_metadata(context, Base.metadata))


@contextmanager
def _newest(folder: Path | None = None) -> Iterator[tuple[Config, Connection]]:
    """A new database at the newest revision, those in ``folder`` included."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    try:
        with engine.begin() as connection:
            config = configuration(connection)
            if folder is not None:
                own = Path(config.get_main_option("script_location", ""), "versions")
                config.set_main_option("path_separator", "os")
                config.set_main_option("version_locations", f"{own}{os.pathsep}{folder}")
            command.upgrade(config, "head")
            yield config, connection
    finally:
        engine.dispose()


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="make migration", description=__doc__)
    parser.add_argument("name", metavar="NAME", help="such as add_reviews")
    try:
        print(f"{write(parser.parse_args().name)}: read it, then run: make test-fast")  # noqa: T201
    except ValueError as error:
        print(f"make migration: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
