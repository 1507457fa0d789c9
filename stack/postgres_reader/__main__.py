"""The reader of PostgreSQL: what a server says of itself, for Prometheus.

It reads on one connection, every five seconds, and changes nothing. Its role needs `pg_monitor` and
the right to connect; for statements the database needs the extension pg_stat_statements.
"""

import argparse
import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import disable_created_metrics, start_http_server
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from stack.postgres_reader.exposition import registry_of
from stack.postgres_reader.reader import Reader
from stack.readiness import LOOPBACK
from vitals.saturation import disk

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
    parser.add_argument("--password-file", type=Path, help="file with the role's password")
    parser.add_argument("--port", type=int, default=PORT, help="default: %(default)s")
    parser.add_argument("--host", default=LOOPBACK, help="listen address; default: %(default)s")
    parser.add_argument(
        "--folder",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="a folder of the server on this machine, whose space is measured; repeatable",
    )
    options = parser.parse_args(argv)
    try:
        url = _url(options.url, options.password_file)
        folders = _folders(options.folder)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    asyncio.run(_serve(options, url, folders))


async def _serve(options: argparse.Namespace, url: URL, folders: disk.Folders) -> None:
    disable_created_metrics()  # type: ignore[no-untyped-call]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    reader = Reader(url, lambda line: print(line, flush=True))
    await reader.read()
    server, _ = start_http_server(options.port, options.host, registry_of(reader, folders))
    try:
        await reader.run(stop)
    finally:
        server.shutdown()
        server.server_close()


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


def _folders(given: Sequence[str]) -> dict[str, str]:
    """Paths of folders by name.

    Raises:
        ValueError: One is not NAME=PATH.
    """
    pairs = [each.partition("=") for each in given]
    for name, _, path in pairs:
        if not name or not path:
            raise ValueError("--folder: write NAME=PATH")
    return {name: path for name, _, path in pairs}


if __name__ == "__main__":
    main()
