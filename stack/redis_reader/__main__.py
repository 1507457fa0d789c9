"""The reader of Redis: what a server says of itself, for Prometheus.

It reads on one connection, every five seconds, and changes nothing. Its user needs the commands
PING, INFO and SLOWLOG GET, and no keys.
"""

import argparse
import asyncio
from collections.abc import Sequence

from stack.readings import command
from stack.redis_reader.reader import Reader
from stack.servers.redis import check_url

PORT = 9121
"""The default port; exporters of Redis have it by convention."""


def main(argv: Sequence[str] | None = None) -> None:
    """Read until the process is ended."""
    parser = argparse.ArgumentParser(
        prog="python -m stack.redis_reader",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", required=True, help="redis://USER@HOST:PORT, or rediss:// for TLS")
    command.add_arguments(parser, PORT)
    options = parser.parse_args(argv)
    try:
        check_url(options.url)
        folders = command.folders(options.folder)
        password = (
            options.password_file.read_text("utf-8").strip() if options.password_file else None
        )
    except (ValueError, OSError) as error:
        parser.error(str(error))
    reader = Reader(options.url, password, lambda line: print(line, flush=True))
    asyncio.run(command.serve(reader, options.host, options.port, folders))


if __name__ == "__main__":
    main()
