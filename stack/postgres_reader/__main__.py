"""The reader of PostgreSQL: what a server says of itself, for Prometheus.

It reads on one connection, every five seconds, and changes nothing. Its role needs `pg_monitor` and
the right to connect; for statements the database needs the extension pg_stat_statements.
"""

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from stack.postgres_reader.reader import Reader
from stack.readings import command

PORT = 9187
"""The default port; exporters of PostgreSQL have it by convention."""


def main(argv: Sequence[str] | None = None) -> None:
    """Read until the process is ended."""
    parser = argparse.ArgumentParser(
        prog="python -m stack.postgres_reader",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--url",
        required=True,
        help="postgresql://ROLE@HOST:PORT/DATABASE; who blocks whom, tables and their vacuum are "
        "those of this database, all else is of the whole server",
    )
    command.add_arguments(parser, PORT)
    options = parser.parse_args(argv)
    try:
        url = _url(options.url, options.password_file)
        folders = command.folders(options.folder)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    reader = Reader(url, lambda line: print(line, flush=True))
    asyncio.run(command.serve(reader, options.host, options.port, folders))


def _url(given: str, password_file: Path | None) -> URL:
    """The URL for asyncpg.

    Raises:
        ValueError: It is none of PostgreSQL.
        OSError: The file of the password cannot be read.
    """
    try:
        url = make_url(given)
    except ArgumentError:
        raise ValueError("--url: write postgresql://ROLE@HOST:PORT/DATABASE") from None
    if url.get_backend_name() != "postgresql" or not url.host or not url.database:
        raise ValueError("--url: write postgresql://ROLE@HOST:PORT/DATABASE")
    url = url.set(drivername="postgresql+asyncpg")
    if password_file:
        url = url.set(password=password_file.read_text("utf-8").strip())
    return url


if __name__ == "__main__":
    main()
