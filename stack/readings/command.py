"""The command of a reader: its options, and the process that reads and answers scrapes."""

import argparse
import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from prometheus_client import disable_created_metrics, start_http_server

from stack.readiness import LOOPBACK
from stack.readings.exposition import registry_of
from stack.readings.readings import INTERVAL, Source
from vitals.saturation import disk


def add_arguments(parser: argparse.ArgumentParser, port: int) -> None:
    """Add the options that all readers have; `port` is the default one."""
    parser.add_argument("--password-file", type=Path, help="file with the role's password")
    parser.add_argument("--port", type=int, default=port, help="default: %(default)s")
    parser.add_argument("--host", default=LOOPBACK, help="listen address; default: %(default)s")
    parser.add_argument(
        "--folder",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="a folder of the server on this machine, whose space is measured; repeatable",
    )


def folders(given: Sequence[str]) -> dict[str, str]:
    """Paths of folders by name.

    Raises:
        ValueError: One is not NAME=PATH.
    """
    pairs = [each.partition("=") for each in given]
    for name, _, path in pairs:
        if not name or not path:
            raise ValueError("--folder: write NAME=PATH")
    return {name: path for name, _, path in pairs}


async def serve(reader: Source, host: str, port: int, measured: disk.Folders) -> None:
    """Read, and answer scrapes, until SIGTERM or SIGINT.

    Args:
        reader: The reader.
        host: Address to listen on.
        port: Port to listen on.
        measured: Folders whose space is measured, by name.

    Raises:
        OSError: The port is taken.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await reader.read()
    server, _ = start_http_server(port, host, registry_of(reader, measured))
    try:
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), INTERVAL)
            if not stop.is_set():
                await reader.read()
    finally:
        await reader.close()
        server.shutdown()
        server.server_close()
