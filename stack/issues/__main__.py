"""The issue tracker: groups errors by fingerprint, and remembers who has dealt with them.

It reads the log records and traces of a store by the HTTP APIs of Loki and Tempo, keeps issues in
an SQLite file, and answers the viewer and Prometheus. It asks for no login.
"""

import argparse
import signal
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread

from stack.issues.collector import Collector
from stack.issues.http_api import build
from stack.issues.issue_store import IssueStore
from stack.issues.log_reader import LogReader
from stack.issues.trace_reader import TraceReader
from stack.readiness import LOOPBACK
from vitals.redactor import Redactor


def main(argv: Sequence[str] | None = None) -> None:
    """Keep issues until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m stack.issues", description=__doc__)
    parser.add_argument("--port", type=int, default=9095, help="default: %(default)s")
    parser.add_argument("--host", default=LOOPBACK, help="listen address; default: %(default)s")
    parser.add_argument("--data", type=Path, required=True, help="the SQLite file")
    parser.add_argument("--logs", required=True, metavar="URL", help="URL of Loki or the store")
    parser.add_argument("--traces", metavar="URL", help="URL of Tempo; by default that of --logs")
    parser.add_argument(
        "--name", action="append", default=[], help="accepted host name; repeatable"
    )
    parser.add_argument(
        "--page-origin",
        action="append",
        default=[],
        help="an origin whose pages may read issues and set their states; repeatable",
    )
    options = parser.parse_args(argv)
    try:
        logs, traces = LogReader(options.logs), TraceReader(options.traces or options.logs)
    except ValueError as error:
        parser.error(str(error))
    try:
        store = IssueStore(options.data)
    except sqlite3.Error as error:
        parser.exit(1, f"{options.data}: cannot be opened: {error}\n")
    collector = Collector(store, logs, traces, Redactor())
    server = build(
        options.port,
        store,
        collector,
        options.host,
        names=options.name,
        page_origins=options.page_origin,
    )
    stopped = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    Thread(target=server.serve_forever, daemon=True).start()
    collector.run(stopped)
    server.shutdown()
    store.close()


if __name__ == "__main__":
    main()
