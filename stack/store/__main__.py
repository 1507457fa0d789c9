"""The store: keeps traces and logs on this machine, and answers as Tempo and Loki do.

It takes OTLP over HTTP (`/v1/traces`, `/v1/logs`) and writes SQLite. Grafana's data sources for
Tempo and Loki, and the viewer, read it.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from stack.inbox import origins
from stack.store.application import build
from stack.store.partitions.store_files import Retention
from stack.store.query.scanner import parse_duration

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?b?)")
_SMALLEST = 16_000_000
_CONNECTIONS = 256


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m stack.store", description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:4318", type=_address, metavar="HOST:PORT")
    parser.add_argument("--data", required=True, type=Path, help="folder of the files")
    parser.add_argument("--keep", default="7d", type=_age, help="age of what is removed: 12h, 7d")
    parser.add_argument("--limit", default="2GB", type=_size, help="size on disk: 500MB, 2GB")
    parser.add_argument(
        "--page-origin", action="append", default=[], help="origin whose pages may read; repeatable"
    )
    parser.add_argument(
        "--timeout", default="10s", type=_age, help="how long a query may take: 10s"
    )
    options = parser.parse_args(argv)
    host, port = options.listen
    app = build(
        options.data,
        Retention(options.keep, options.limit),
        page_origins=options.page_origin,
        timeout=options.timeout,
    )
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=5,
        ws="wsproto",
        ws_max_size=64_000,
    )


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if host not in origins.LOOPBACK_NAMES:
        raise argparse.ArgumentTypeError(
            f"{text}: only loopback, such as 127.0.0.1:4318: it asks for no login"
        )
    if not port.isdecimal() or not 0 < int(port) < 2**16:
        raise argparse.ArgumentTypeError(f"{text}: the port must be a number from 1 to 65535")
    return host, int(port)


def _age(text: str) -> float:
    nanoseconds = parse_duration(text)
    if not nanoseconds or nanoseconds <= 0:
        raise argparse.ArgumentTypeError(f"{text}: must be a duration, such as 12h or 7d")
    return nanoseconds / 1e9


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text.strip().lower())
    if not found:
        raise argparse.ArgumentTypeError(f"{text}: must be a size, such as 500MB or 2GB")
    unit = found.group(2)
    size = int(float(found.group(1)) * _UNITS[unit if unit in _UNITS else f"{unit}b"])
    if size < _SMALLEST:
        raise argparse.ArgumentTypeError(f"{text}: at least 16MB")
    return size


if __name__ == "__main__":
    main()
